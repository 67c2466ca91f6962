"""What keeps jobs, orders and their line through faults."""

from tests.faults.protection import protection

FLYING = "for work, flight in list(job.flying.items()):"
JOBS = (
    protection(
        "embedded-chord-counts-members",
        "app/results.py",
        "returned.add(request.id)",
        "returned.add(f'{request.id}-{len(returned)}')",
        "tests/unit/test_results.py::test_a_member_delivered_twice_counts_once",
    ),
    protection(
        "merge-compares-plan-and-blobs",
        "app/domain/work.py",
        "if missing := tuple(work for work in group if work.key(plan) not in keys):",
        "if len(missing := tuple(w for w in group if w.key(plan) not in keys)) == len(group):",
        "tests/unit/workflow/test_advancing.py::test_an_incomplete_stage_is_left_as_it_is",
    ),
    protection(
        "lost-units-sent-again",
        "app/scheduling/overdue.py",
        FLYING,
        f"{FLYING[:-1]}[:0]:",
        "tests/unit/scheduling/test_overdue.py::test_a_unit_that_is_nowhere_for_three_heartbeats_is_sent_again",
        "tests/unit/scheduling/test_overdue.py::test_the_unit_of_a_node_that_fell_silent_goes_out_at_once",
        "tests/faults/test_partition.py::test_what_a_silent_node_had_goes_to_another",
        "tests/faults/test_namespaces.py::test_what_a_worker_behind_a_dead_link_had_goes_to_another",
        soak="--classes purge --seconds 25 --faults 20 --seed 3 --drain 20",
    ),
    protection(
        "unserved-jobs-end",
        "app/scheduling/unserved.py",
        "                self._line.end(job_id, ConfigurationError(reason))\n",
        "",
        "tests/unit/scheduling/test_unserved.py::test_a_job_without_any_worker_ends_with_the_pool_and_the_time",
    ),
    protection(
        "plans-asked-for-again",
        "app/scheduling/asking.py",
        "overdue = self._overdue(waits, _PLAN_GRACE_S)",
        "overdue = []",
        "tests/unit/scheduling/test_asking.py::test_a_plan_that_does_not_come_is_asked_for_again_and_not_all_the_time",
    ),
    protection(
        "merges-asked-for-again",
        "app/scheduling/asking.py",
        "for job, image in self._overdue(waits, _MERGE_GRACE_S):",
        "for job, image in []:",
        "tests/unit/scheduling/test_asking.py::test_a_merge_that_nobody_asked_for_is_asked_for",
    ),
    protection(
        "lost-plans-written-again",
        "app/scheduling/asking.py",
        "            self._runtime.store.put(plan_key(job.plan.hash), job.plan.to_json())\n",
        "",
        "tests/unit/scheduling/test_asking.py"
        "::test_a_plan_that_was_lost_is_written_again_before_a_merge_is_asked_for",
    ),
    protection(
        "refused-jobs-put-off",
        "app/scheduling/isolation.py",
        "            self._put_off(job_id, err)\n",
        "            raise\n",
        "tests/unit/scheduling/test_isolation.py"
        "::test_a_job_whose_plan_the_store_does_not_give_keeps_back_no_later_one",
        "tests/unit/scheduling/test_hearing.py"
        "::test_events_of_a_job_whose_records_the_store_refuses_keep_back_no_other",
    ),
    protection(
        "refusals-are-few",
        "app/scheduling/isolation.py",
        "            if self._refused:\n                return\n",
        "",
        "tests/unit/scheduling/test_isolation.py"
        "::test_a_round_waits_for_no_more_than_two_records_that_the_store_refuses",
    ),
    protection(
        "outages-put-nobody-off",
        "app/scheduling/isolation.py",
        "            self._check()\n",
        "",
        "tests/unit/scheduling/test_hearing.py"
        "::test_what_was_heard_while_the_store_was_away_is_taken_in_when_it_is_back",
    ),
    protection(
        "late-is-not-lost",
        "app/scheduling/asking.py",
        "_TASK_S = 1.0",
        "_TASK_S = 0.0",
        "tests/unit/scheduling/test_asking.py::test_a_plan_is_not_asked_for_while_its_message_may_wait_in_the_queue",
        "tests/unit/scheduling/test_asking.py::test_a_merge_is_not_asked_for_while_its_message_may_wait_in_the_queue",
    ),
    protection(
        "line-keeps-its-folder",
        "app/entries.py",
        'self._store.put(KEEPER, b"")',
        "pass",
        "tests/unit/test_entries.py::test_the_folder_of_the_line_is_never_empty_once_a_job_was_in_it",
    ),
    protection(
        "line-read-from-the-store",
        "app/scheduling/line.py",
        "if self.is_adopting or entry.job_id in self._told",
        "if entry.job_id in self._told",
        "tests/unit/scheduling/test_dispatcher.py::test_a_job_that_nobody_told_of_is_found_in_the_store",
        "tests/faults/test_resume.py",
        "tests/faults/test_total_loss.py",
    ),
    protection(
        "present-blobs-read",
        "app/scheduling/job.py",
        "keys = _by_image(present_keys(store, self.plan))",
        "keys = _by_image([])",
        "tests/faults/test_resume.py",
    ),
    protection(
        "taken-orders-stay-taken",
        "app/admission.py",
        "if refusal is None or _is_taken(runtime, job_id):",
        "if refusal is None:",
        "tests/unit/test_repeated_orders.py"
        "::test_an_accepted_order_is_taken_again_and_another_is_refused[tenant]",
    ),
    protection(
        "orders-take-back-their-own",
        "app/entries.py",
        ' if key.endswith(f"{_TOKEN}{entry.token}")]',
        "]",
        "tests/unit/test_orders.py"
        "::test_a_repeated_order_that_is_refused_leaves_the_job_and_its_place_in_line",
        "tests/unit/test_orders.py"
        "::test_an_order_that_is_taken_survives_the_refusal_of_an_equal_one_of_that_moment",
    ),
    protection(
        "ends-take-out-what-they-ended",
        "app/outcomes.py",
        "    _leave(runtime, job_id, keys)\n    return True\n",
        "    _leave(runtime, job_id, runtime.entries.keys(job_id))\n    return True\n",
        "tests/unit/test_outcomes.py"
        "::test_a_job_that_is_reopened_while_its_end_is_told_stays_in_line",
    ),
    protection(
        "reopening-is-marked",
        "app/outcomes.py",
        "replace(entry, is_reopening=True)",
        "replace(entry, is_reopening=False)",
        "tests/unit/scheduling/test_reopening.py"
        "::test_a_job_has_its_end_or_is_served_whenever_its_client_dies",
    ),
    protection(
        "withdrawn-orders-not-planned",
        "app/tasks/base.py",
        "if is_refused or settle(app, job_id):",
        "if settle(app, job_id):",
        "tests/unit/test_control_tasks.py::test_a_withdrawn_job_is_not_planned",
    ),
)
