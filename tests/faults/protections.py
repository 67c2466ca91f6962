"""What protects jobs from faults: where it is in the code, and which tests need it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One change of the code; *old* stands once in the file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Protection:
    """A protection, the edits that take it away, and the tests that fail then."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...] = ()
    soak: str = ""
    """Arguments of a directed soak that accuses somebody then."""


def _protection(
    name: str, path: str, old: str, new: str, *tests: str, soak: str = ""
) -> Protection:
    return Protection(name, (Edit(path, old, new),), tests, soak)


_FLYING = "for work, flight in list(job.flying.items()):"
_WRITES = (
    Protection(
        "write-once-folder",
        (
            Edit(
                "app/storage/folder.py",
                "if target.is_file():\n                        ret",
                "if False:\n                        ret",
            ),
            Edit(
                "app/storage/folder.py",
                "os.link(temporary, target)",
                "os.replace(temporary, target)",
            ),
        ),
        ("tests/faults/test_two_writers.py",),
    ),
    _protection(
        "write-once-s3",
        "app/storage/s3.py",
        '"If-None-Match": "*",',
        "",
        "tests/unit/storage/test_s3.py::test_every_write_is_conditional_and_carries_its_checksum",
        "tests/contract/test_blob_store.py::test_only_the_first_writer_wins",
    ),
    _protection(
        "probe",
        "app/storage/probe.py",
        'key = f"probe/{secrets.token_hex(8)}"',
        'return\n    key = f"probe/{secrets.token_hex(8)}"',
        "tests/unit/storage/test_probe.py::test_a_store_that_replaces_is_refused",
        "tests/unit/storage/test_s3.py::test_a_store_that_ignores_the_condition_does_not_pass_the_probe",
    ),
    _protection(
        "checksum-s3",
        "app/storage/s3.py",
        "if digest.hexdigest() != response.headers.get(_DIGEST):",
        "if False:",
        "tests/unit/storage/test_s3.py::test_a_blob_without_a_checksum_is_corrupt",
        "tests/contract/test_blob_store.py::test_changed_bytes_are_never_returned",
    ),
    _protection(
        "damaged-blobs-removed",
        "app/repair.py",
        "            store.delete(key)\n",
        "            pass\n",
        "tests/unit/test_workflow.py::test_a_damaged_tile_is_removed_and_asked_for_again",
        soak="--classes blob-rotten --seconds 20 --faults 12 --seed 3 --drain 20",
    ),
    _protection(
        "room-on-disk",
        "app/storage/folder.py",
        "            temporary.unlink(missing_ok=True)\n",
        "            pass\n",
        "tests/unit/storage/test_folder.py::test_a_write_that_stops_half_way_leaves_nothing",
        "tests/unit/storage/test_folder.py::test_a_full_disk_is_a_storage_failure_and_leaves_no_half_file",
    ),
    _protection(
        "s3-time-limits",
        "app/storage/s3.py",
        "Timeout(connect=connect_s, read=read_s)",
        "Timeout(connect=connect_s, read=None)",
        "tests/faults/test_faulty_store.py::test_a_lost_answer_can_keep_the_client_waiting",
        "tests/faults/test_partition.py::test_a_worker_outlives_connections_that_the_store_has_forgotten",
    ),
    _protection(
        "s3-retries",
        "app/storage/s3.py",
        "total=retries,",
        "total=0,",
        "tests/unit/storage/test_s3.py::test_a_passing_failure_is_retried_a_bounded_number_of_times",
        "tests/faults/test_faulty_store.py::test_a_patient_client_gets_through_a_faulty_store",
    ),
)
_UNITS = (
    _protection(
        "stored-units-skipped",
        "workers/execution.py",
        "if not self._store.exists(work.key(plan))]",
        "]",
        "tests/faults/test_two_writers.py::test_a_copy_that_comes_after_the_blob_is_not_rendered",
        "tests/unit/workers/test_execution.py::test_a_unit_whose_blob_exists_is_not_rendered_again",
    ),
    _protection(
        "retries-in-the-worker",
        "app/patience.py",
        "for attempt in range(self.retries):",
        "for attempt in range(0):",
        "tests/unit/workers/test_execution.py::test_a_transient_error_is_retried_with_growing_waits",
        "tests/unit/test_control_tasks.py::test_a_step_is_tried_again_until_the_store_answers",
    ),
    _protection(
        "outages-fail-no-job",
        "app/domain/errors.py",
        "return is_away and not isinstance(error, StorageFullError)",
        "return False",
        "tests/unit/workers/test_execution.py::test_an_outage_fails_no_job_however_long_it_lasts",
        "tests/unit/test_control_tasks.py::test_an_outage_hands_the_message_back_and_fails_no_job",
    ),
    _protection(
        "hand-backs-wait",
        "app/delivery.py",
        "Patience.of(chosen).pause()",
        "pass",
        "tests/unit/test_delivery.py::test_nobody_hands_back_without_a_wait",
    ),
    _protection(
        "hand-backs-are-no-redeliveries",
        "app/delivery.py",
        "        _send_copy(task, chosen)\n",
        "        raise WorkerStoppingError\n",
        "tests/unit/test_delivery.py"
        "::test_a_message_that_is_handed_back_is_sent_anew_and_not_requeued",
    ),
    _protection(
        "memory-errors-translated",
        "workers/faults.py",
        "except (torch.OutOfMemoryError, MemoryError) as err:",
        "except BlockingIOError as err:",
        "tests/unit/workers/test_faults.py::test_every_way_to_run_out_of_memory_is_told_alike",
        "tests/unit/workers/test_execution.py::test_a_batch_that_does_not_fit_shrinks_until_it_does",
    ),
    _protection(
        "memory-errors-recognised",
        "workers/faults.py",
        '"DefaultCPUAllocator: can\'t allocate memory"',
        '"CUBLAS_STATUS_ALLOC_FAILED"',
        "tests/unit/workers/test_faults.py::test_every_way_to_run_out_of_memory_is_told_alike",
        "tests/integration/test_memory_classes.py"
        "::test_without_a_bigger_pool_the_job_ends_with_the_tile_and_the_memory[limit]",
    ),
    _protection(
        "quarantine",
        "app/attempts.py",
        "if deaths < self.max_deaths:",
        "if True:",
        "tests/unit/workers/test_execution.py::test_a_unit_that_killed_too_many_workers_is_quarantined",
    ),
    _protection(
        "deadly-steps-end-their-job",
        "app/tasks/again.py",
        "if reason := attempts.condemn(job_id, step, patience.wait, time.time):",
        "if reason := None:",
        "tests/unit/test_control_tasks.py::test_a_merge_that_killed_too_many_workers_ends_its_job",
        "tests/unit/test_control_tasks.py::test_a_plan_that_killed_too_many_workers_ends_its_job",
    ),
    _protection(
        "restarts-are-no-deaths",
        "app/attempts.py",
        "            self._kept.add(key)\n",
        "",
        "tests/unit/test_attempts.py::test_a_record_that_an_outage_kept_is_taken_away_later",
    ),
    _protection(
        "looks-between-layers",
        "workers/layers.py",
        "        check()\n",
        "        pass\n",
        "tests/properties/test_cancelling.py::test_every_part_of_a_unit_is_preceded_by_a_look",
    ),
    _protection(
        "dead-letters",
        "app/queues.py",
        'dead = {"x-dead-letter-exchange": DEAD_LETTERS.name}',
        "dead: dict[str, object] = {}",
        "tests/integration/test_queues.py::test_a_rejected_message_is_kept_for_a_person",
    ),
    _protection(
        "undecodable-rejected",
        "app/consuming.py",
        "message.reject_log_error(log, self.connection_errors)",
        "message.ack_log_error(log, self.connection_errors)",
        "tests/integration/test_dead_letters.py::test_what_no_worker_can_read_is_kept_until_a_person_decides",
    ),
    _protection(
        "endless-units-end-their-worker",
        "workers/watchdog.py",
        "if (running_s := self._node.running_s()) > self._unit_timeout_s:",
        "if (running_s := 0.0) > self._unit_timeout_s:",
        "tests/unit/workers/test_watchdog.py::test_a_unit_that_takes_too_long_ends_the_process",
    ),
    _protection(
        "consumer-timeout-guard",
        "app/cli/serving.py",
        "if limit_s and chosen.unit_timeout_s >= limit_s:",
        "if False:",
        "tests/unit/test_serving.py",
    ),
    _protection(
        "workers-end-with-their-autoscaler",
        "app/parents.py",
        "ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)",
        "pass",
        "tests/unit/test_parents.py::test_a_worker_drains_when_its_autoscaler_is_killed",
        "tests/integration/test_autoscale.py"
        "::test_an_autoscaler_that_is_killed_leaves_no_worker_behind",
    ),
    Protection(
        "redelivery-and-sending-again",  # two nets, taken away together
        (
            Edit("celeryconfig.py", "task_acks_late = True", "task_acks_late = False"),
            Edit("app/scheduling/overdue.py", _FLYING, f"{_FLYING[:-1]}[:0]:"),
        ),
        (
            "tests/faults/test_crash_recovery.py::test_a_job_survives_a_death_at[w1-before-put-unit]",
        ),
    ),
)
_JOBS = (
    _protection(
        "embedded-chord-counts-members",
        "app/results.py",
        "returned.add(request.id)",
        "returned.add(f'{request.id}-{len(returned)}')",
        "tests/unit/test_results.py::test_a_member_delivered_twice_counts_once",
    ),
    _protection(
        "merge-compares-plan-and-blobs",
        "app/domain/work.py",
        "if missing := tuple(work for work in group if work.key(plan) not in keys):",
        "if len(missing := tuple(w for w in group if w.key(plan) not in keys)) == len(group):",
        "tests/unit/test_workflow.py::test_an_incomplete_stage_is_left_as_it_is",
    ),
    _protection(
        "lost-units-sent-again",
        "app/scheduling/overdue.py",
        _FLYING,
        f"{_FLYING[:-1]}[:0]:",
        "tests/unit/scheduling/test_overdue.py::test_a_unit_that_is_nowhere_for_three_heartbeats_is_sent_again",
        "tests/unit/scheduling/test_overdue.py::test_the_unit_of_a_node_that_fell_silent_goes_out_at_once",
        "tests/faults/test_partition.py::test_what_a_silent_node_had_goes_to_another",
        soak="--classes purge --seconds 25 --faults 20 --seed 3 --drain 20",
    ),
    _protection(
        "unserved-jobs-end",
        "app/scheduling/unserved.py",
        "                self._line.fail(job_id, ConfigurationError(reason))\n",
        "",
        "tests/unit/scheduling/test_unserved.py::test_a_job_without_any_worker_ends_with_the_pool_and_the_time",
    ),
    _protection(
        "plans-asked-for-again",
        "app/scheduling/asking.py",
        "overdue = self._overdue(waits, _PLAN_GRACE_S)",
        "overdue = []",
        "tests/unit/scheduling/test_asking.py::test_a_plan_that_does_not_come_is_asked_for_again_and_not_all_the_time",
    ),
    _protection(
        "merges-asked-for-again",
        "app/scheduling/asking.py",
        "for job, image in self._overdue(waits, _MERGE_GRACE_S):",
        "for job, image in []:",
        "tests/unit/scheduling/test_asking.py::test_a_merge_that_nobody_asked_for_is_asked_for",
    ),
    _protection(
        "late-is-not-lost",
        "app/scheduling/asking.py",
        "_TASK_S = 1.0",
        "_TASK_S = 0.0",
        "tests/unit/scheduling/test_asking.py::test_a_plan_is_not_asked_for_while_its_message_may_wait_in_the_queue",
        "tests/unit/scheduling/test_asking.py::test_a_merge_is_not_asked_for_while_its_message_may_wait_in_the_queue",
    ),
    _protection(
        "line-keeps-its-folder",
        "app/entries.py",
        'self._store.put(KEEPER, b"")',
        "pass",
        "tests/unit/test_entries.py::test_the_folder_of_the_line_is_never_empty_once_a_job_was_in_it",
    ),
    _protection(
        "line-read-from-the-store",
        "app/scheduling/line.py",
        "if self.is_adopting or entry.job_id in self._told",
        "if entry.job_id in self._told",
        "tests/unit/scheduling/test_dispatcher.py::test_a_job_that_nobody_told_of_is_found_in_the_store",
        "tests/faults/test_resume.py",
    ),
    _protection(
        "present-blobs-read",
        "app/scheduling/job.py",
        "keys = _by_image(present_keys(store, self.plan))",
        "keys = _by_image([])",
        "tests/faults/test_resume.py",
    ),
    _protection(
        "withdrawn-orders-not-planned",
        "app/tasks/base.py",
        "if is_refused or settle(app, job_id):",
        "if settle(app, job_id):",
        "tests/unit/test_control_tasks.py::test_a_withdrawn_job_is_not_planned",
    ),
)
_SERVERS = (
    _protection(
        "publishing-has-a-limit",
        "app/celery.py",
        'options = options | {"transport": transport, "transport_options": limits}',
        'options = options | {"transport": transport}',
        "tests/unit/test_publishing.py::test_what_publishes_has_a_time_limit",
        "tests/integration/test_queues.py::test_a_publish_under_a_memory_alarm_ends_with_an_error",
    ),
    _protection(
        "orders-keep-their-id",
        "app/tasks/render.py",
        'options.pop("task_id", None) or str(uuid.uuid4())',
        'options.pop("task_id", None) and None or str(uuid.uuid4())',
        "tests/faults/test_lost_confirm.py",
    ),
    _protection(
        "publishing-is-confirmed",
        "celeryconfig.py",
        '"confirm_publish": True,',
        '"confirm_publish": False,',
        "tests/faults/test_lost_confirm.py",
    ),
    Protection(
        "durable-queues",
        (
            Edit(
                "app/queues.py",
                "queue_arguments=arguments,\n            durable=True,",
                "queue_arguments=arguments,\n            durable=False,",
            ),
        ),
        ("tests/faults/test_nemeses.py::test_a_killed_broker_keeps_its_messages",),
    ),
    _protection(
        "board-has-a-limit",
        "app/live/redis.py",
        "socket_timeout=timeout_s,",
        "socket_timeout=None,",
        "tests/unit/live/test_unreachable_board.py"
        "::test_a_board_that_is_silent_costs_no_more_than_two_timeouts[show]",
    ),
    _protection(
        "ages-by-the-servers-clock",
        "app/live/redis.py",
        "_record(text, int(now_ms))",
        "_record(text, int(1000 * time.time()))",
        "tests/contract/test_live_board.py::test_a_clock_that_is_an_hour_off_ages_no_record",
    ),
)
PROTECTIONS = {each.name: each for each in (*_WRITES, *_UNITS, *_JOBS, *_SERVERS)}
