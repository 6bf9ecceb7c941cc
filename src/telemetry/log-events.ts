/** Every event of the log by its key, which is stable for machines, with what it reports. */
export const LOG_EVENTS = {
  call_ended: "A call ended.",
  call_failed: "A call failed for a reason of the server's own.",
  carrier_unavailable: "Registered numbers name a carrier that is not configured.",
  claim_failed: "Due queues could not be claimed.",
  clock_differs: "This machine's clock differs from the database server's.",
  database_file_back: "The SQLite file is back in its place.",
  database_file_moved: "The SQLite file was deleted or replaced.",
  delivery_held: "Delivery is held on a restored backup.",
  delivery_hold_read_failed: "The hold of delivery could not be read.",
  delivery_resumed: "Delivery was resumed.",
  disk_failed: "The disk failed; the process ends.",
  drain_started: "The server began to drain.",
  drain_timed_out: "The drain took too long; the process ends.",
  late_answer_dropped: "A carrier's answer came too late to be stored.",
  log_damaged: "Recovery found damage in the write-ahead log.",
  log_lines_dropped: "Lines of this log were dropped because its reader is slow.",
  log_recovered: "Recovery read the write-ahead log.",
  maintenance_failed: "A maintenance task failed.",
  metrics_update_failed: "Metrics could not count a committed transaction.",
  pool_update_failed: "The effects of stored reports could not be applied to the pools in memory.",
  queue_scan_failed: "The queues could not be listed.",
  report_dropped: "A carrier's answer or report cannot be written and is dropped.",
  report_write_failed: "Carriers' answers and reports could not be written.",
  scheduled_release_failed: "Due scheduled messages could not be decided.",
  server_stopped: "The server stopped.",
  submit_failed: "A carrier threw an error instead of giving an answer.",
  submits_unconfirmed: "Submits of an earlier process have an unknown outcome.",
} as const;

/** The key of an event of the log. */
export type LogEvent = keyof typeof LOG_EVENTS;
