"""What protects jobs from faults: where it is in the code, and which tests need it."""

from tests.faults.job_protections import FLYING, JOBS
from tests.faults.protection import Edit, Protection, protection
from tests.faults.worker_protections import WORKERS

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
    protection(
        "write-once-s3",
        "app/storage/s3.py",
        '"If-None-Match": "*",',
        "",
        "tests/unit/storage/test_s3.py::test_every_write_is_conditional_and_carries_its_checksum",
        "tests/contract/test_blob_store.py::test_only_the_first_writer_wins",
    ),
    protection(
        "probe",
        "app/storage/probe.py",
        'key = f"probe/{secrets.token_hex(8)}"',
        'return\n    key = f"probe/{secrets.token_hex(8)}"',
        "tests/unit/storage/test_probe.py::test_a_store_that_replaces_is_refused",
        "tests/unit/storage/test_s3.py::test_a_store_that_ignores_the_condition_does_not_pass_the_probe",
    ),
    protection(
        "checksum-s3",
        "app/storage/s3.py",
        "if digest.hexdigest() != response.headers.get(_DIGEST):",
        "if False:",
        "tests/unit/storage/test_s3.py::test_a_blob_without_a_checksum_is_corrupt",
        "tests/contract/test_blob_store.py::test_changed_bytes_are_never_returned",
    ),
    protection(
        "damaged-blobs-removed",
        "app/repair.py",
        "            store.delete(key)\n",
        "            pass\n",
        "tests/unit/workflow/test_damage.py::test_a_damaged_tile_is_removed_and_asked_for_again",
        soak="--classes blob-rotten --seconds 20 --faults 12 --seed 3 --drain 20",
    ),
    protection(
        "lost-parts-undo-their-stage",
        "app/repair.py",
        "and any(part not in keys for part in parts_of(plan, unit))",
        "and False",
        "tests/unit/workers/execution/test_failures.py"
        "::test_a_stage_that_has_lost_a_part_is_undone_and_the_others_are_not",
    ),
    protection(
        "mending-has-an-end",
        "app/jobs.py",
        "if times >= MOST_MENDED:",
        "if False:",
        "tests/unit/workflow/test_damage.py::test_a_record_that_is_lost_again_and_again_ends_the_job",
    ),
    protection(
        "losing-has-an-end",
        "app/scheduling/job.py",
        "                if times > MOST_MENDED:\n",
        "                if False:\n",
        "tests/unit/scheduling/test_missing.py"
        "::test_a_tile_that_the_store_confirms_and_loses_every_time_ends_its_job",
    ),
    protection(
        "doubt-keeps",
        "app/domain/retention.py",
        "is_doubtful = self._is_in_doubt and folder.name not in self._users",
        "is_doubtful = False",
        "tests/unit/retention/test_records.py"
        "::test_a_plan_record_that_says_nothing_keeps_back_no_other_job",
        "tests/unit/retention/test_records.py"
        "::test_a_picture_stays_when_neither_record_tells_whose_it_is",
    ),
    protection(
        "room-on-disk",
        "app/storage/folder.py",
        "            temporary.unlink(missing_ok=True)\n",
        "            pass\n",
        "tests/unit/storage/test_folder.py::test_a_write_that_stops_half_way_leaves_nothing",
        "tests/unit/storage/test_folder.py::test_a_full_disk_is_a_storage_failure_and_leaves_no_half_file",
    ),
    protection(
        "s3-time-limits",
        "app/storage/s3.py",
        "Timeout(connect=connect_s, read=read_s)",
        "Timeout(connect=connect_s, read=None)",
        "tests/faults/test_faulty_store.py::test_a_lost_answer_can_keep_the_client_waiting",
        "tests/faults/test_partition.py::test_a_worker_outlives_connections_that_the_store_has_forgotten",
    ),
    protection(
        "s3-retries",
        "app/storage/s3.py",
        "total=retries,",
        "total=0,",
        "tests/unit/storage/test_s3.py::test_a_passing_failure_is_retried_a_bounded_number_of_times",
        "tests/faults/test_faulty_store.py::test_a_patient_client_gets_through_a_faulty_store",
    ),
)
_UNITS = (
    protection(
        "stored-units-skipped",
        "workers/execution.py",
        "if not self._store.exists(work.key(plan))]",
        "]",
        "tests/faults/test_two_writers.py::test_a_copy_that_comes_after_the_blob_is_not_rendered",
        "tests/unit/workers/execution/test_units.py::test_a_unit_whose_blob_exists_is_not_rendered_again",
        soak="--classes duplicate-delivery --seconds 20 --faults 12 --seed 3 --drain 20",
    ),
    protection(
        "retries-in-the-worker",
        "app/patience.py",
        "for attempt in range(self.retries):",
        "for attempt in range(0):",
        "tests/unit/workers/execution/test_outages.py::test_a_transient_error_is_retried_with_growing_waits",
        "tests/unit/test_control_tasks.py::test_a_step_is_tried_again_until_the_store_answers",
    ),
    protection(
        "outages-fail-no-job",
        "app/domain/errors.py",
        "return is_away and not isinstance(error, StorageFullError)",
        "return False",
        "tests/unit/workers/execution/test_outages.py::test_an_outage_fails_no_job_however_long_it_lasts",
        "tests/unit/test_control_tasks.py::test_an_outage_hands_the_message_back_and_fails_no_job",
    ),
    protection(
        "hand-backs-wait",
        "app/delivery.py",
        "pause=Patience.of(chosen).pause)",
        "pause=nothing)",
        "tests/unit/test_delivery.py::test_nobody_hands_back_without_a_wait",
    ),
    protection(
        "hand-backs-are-no-redeliveries",
        "app/delivery.py",
        "        _send_copy(task, chosen)\n",
        "        raise WorkerStoppingError\n",
        "tests/unit/test_delivery.py"
        "::test_a_message_that_is_handed_back_is_sent_anew_and_not_requeued",
    ),
    protection(
        "memory-errors-translated",
        "workers/faults.py",
        "except (torch.OutOfMemoryError, MemoryError) as err:",
        "except BlockingIOError as err:",
        "tests/unit/workers/test_faults.py::test_every_way_to_run_out_of_memory_is_told_alike",
        "tests/unit/workers/execution/test_memory.py::test_a_batch_that_does_not_fit_shrinks_until_it_does",
    ),
    protection(
        "memory-errors-recognised",
        "workers/faults.py",
        '"DefaultCPUAllocator: can\'t allocate memory"',
        '"CUBLAS_STATUS_ALLOC_FAILED"',
        "tests/unit/workers/test_faults.py::test_every_way_to_run_out_of_memory_is_told_alike",
        "tests/integration/test_memory_classes.py"
        "::test_without_a_bigger_pool_the_job_ends_with_the_tile_and_the_memory[limit]",
    ),
    protection(
        "quarantine",
        "app/attempts.py",
        "if deaths < self.max_deaths:",
        "if True:",
        "tests/unit/workers/execution/test_redelivered.py::test_a_unit_that_killed_too_many_workers_is_quarantined",
        "tests/integration/test_dead_letters.py"
        "::test_a_tile_that_kills_its_workers_is_quarantined_and_nothing_else_suffers",
    ),
    protection(
        "deadly-steps-end-their-job",
        "app/tasks/again.py",
        "if reason := attempts.condemn(job_id, step, patience.wait, time.time):",
        "if reason := None:",
        "tests/unit/test_control_tasks.py::test_a_merge_that_killed_too_many_workers_ends_its_job",
        "tests/unit/test_control_tasks.py::test_a_plan_that_killed_too_many_workers_ends_its_job",
    ),
    protection(
        "restarts-are-no-deaths",
        "app/attempts.py",
        "            self._kept.add(key)\n",
        "",
        "tests/unit/test_attempts.py::test_a_record_that_an_outage_kept_is_taken_away_later",
    ),
    protection(
        "looks-between-layers",
        "workers/layers.py",
        "        check()\n",
        "        pass\n",
        "tests/properties/test_cancelling.py::test_every_part_of_a_unit_is_preceded_by_a_look",
    ),
    protection(
        "dead-letters",
        "app/queues.py",
        'dead = {"x-dead-letter-exchange": DEAD_LETTERS.name}',
        "dead: dict[str, object] = {}",
        "tests/integration/test_queues.py::test_a_rejected_message_is_kept_for_a_person",
    ),
    protection(
        "undecodable-rejected",
        "app/consuming.py",
        "message.reject_log_error(log, self.connection_errors)",
        "message.ack_log_error(log, self.connection_errors)",
        "tests/integration/test_dead_letters.py::test_what_no_worker_can_read_is_kept_until_a_person_decides",
    ),
    protection(
        "endless-units-end-their-worker",
        "app/watchdog.py",
        "if (running_s := self._node.running_s()) > self._unit_timeout_s:",
        "if (running_s := 0.0) > self._unit_timeout_s:",
        "tests/unit/test_watchdog.py::test_a_unit_that_takes_too_long_ends_the_process",
    ),
    protection(
        "endless-steps-end-their-worker",
        "app/tasks/again.py",
        "with taken_up, own_node().at_step(job_id, step.label, step.image):",
        "with taken_up:",
        "tests/unit/test_control_tasks.py"
        "::test_the_time_of_a_merge_counts_and_not_that_between_two_attempts",
        "tests/faults/test_endless_step.py"
        "::test_what_hangs_once_is_done_by_the_next_worker_and_keeps_back_no_other[plan]",
    ),
    protection(
        "one-worker-at-a-step",
        "app/scheduling/dispatcher.py",
        "        self._asker.see(self._nodes)\n",
        "",
        "tests/unit/scheduling/test_asking.py"
        "::test_what_a_living_worker_merges_is_not_asked_for_until_it_is_lost",
        "tests/unit/scheduling/test_asking.py"
        "::test_a_plan_that_a_living_worker_makes_is_not_asked_for_until_it_is_lost",
    ),
    protection(
        "consumer-timeout-guard",
        "app/cli/serving.py",
        "if limit_s and chosen.unit_timeout_s >= limit_s:",
        "if False:",
        "tests/unit/test_serving.py",
    ),
    protection(
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
            Edit("app/scheduling/overdue.py", FLYING, f"{FLYING[:-1]}[:0]:"),
        ),
        (
            "tests/faults/test_crash_recovery.py::test_a_job_survives_a_death_at[w1-before-put-unit]",
        ),
    ),
)
_SERVERS = (
    protection(
        "publishing-has-a-limit",
        "app/celery.py",
        'options = options | {"transport": transport, "transport_options": limits}',
        'options = options | {"transport": transport}',
        "tests/unit/test_publishing.py::test_what_publishes_has_a_time_limit",
        "tests/integration/test_queues.py::test_a_publish_under_a_memory_alarm_ends_with_an_error",
        "tests/integration/test_alarm.py"
        "::test_an_order_under_an_alarm_is_refused_in_time_and_given_again_is_one_job",
    ),
    protection(
        "orders-keep-their-id",
        "app/tasks/render.py",
        "job_id = given_id or str(uuid.uuid4())",
        "job_id = str(uuid.uuid4())",
        "tests/faults/test_lost_confirm.py",
    ),
    protection(
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
    protection(
        "board-has-a-limit",
        "app/live/redis.py",
        "socket_timeout=timeout_s,",
        "socket_timeout=None,",
        "tests/unit/live/test_unreachable_board.py"
        "::test_a_board_that_is_silent_costs_no_more_than_two_timeouts[show]",
    ),
    protection(
        "ages-by-the-servers-clock",
        "app/live/redis.py",
        "_record(text, int(now_ms))",
        "_record(text, int(1000 * time.time()))",
        "tests/contract/test_live_board.py::test_a_clock_that_is_an_hour_off_ages_no_record",
    ),
)
PROTECTIONS = {each.name: each for each in (*_WRITES, *_UNITS, *WORKERS, *JOBS, *_SERVERS)}
