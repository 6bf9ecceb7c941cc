-- Times are whole milliseconds since 1970, UTC. Ids are UUIDs of version 7, as text: they sort by time.
-- Every key leads with the organization, so that a larger database can be divided by it.

CREATE TABLE organizations (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  name TEXT NOT NULL,
  secret_hash BLOB NOT NULL,
  scopes TEXT NOT NULL, -- separated by spaces
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;

CREATE TABLE messaging_profiles (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  webhook_url TEXT,
  webhook_failover_url TEXT,
  whitelisted_destinations TEXT NOT NULL, -- a JSON list
  number_pool_settings TEXT, -- a JSON object; null: the pool is off
  validity_period_seconds INTEGER NOT NULL,
  sticky_generation INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER, -- gone, but for its numbers, which are rewritten in small steps
  UNIQUE (organization_id, id)
) STRICT;
-- Deleted profiles, whose numbers are to be rewritten.
CREATE INDEX messaging_profiles_deleted ON messaging_profiles (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE phone_numbers (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of registration
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL,
  phone_number TEXT NOT NULL,
  messaging_profile_id TEXT,
  carrier TEXT NOT NULL,
  line_type TEXT NOT NULL,
  segments_per_second REAL NOT NULL,
  daily_segment_limit INTEGER,
  state TEXT NOT NULL,
  country_code TEXT NOT NULL,
  tags TEXT NOT NULL, -- a JSON list
  generation INTEGER NOT NULL, -- of its membership in a profile
  due_at REAL NOT NULL DEFAULT 0, -- when a dispatcher may claim it again
  used_day INTEGER NOT NULL DEFAULT 0, -- the last UTC day on which something was sent, in days since 1970
  used_segments INTEGER NOT NULL DEFAULT 0, -- segments handed to carriers on used_day
  sent_lately REAL NOT NULL DEFAULT 0, -- messages claimed, decaying as health does, as they were at sent_lately_as_of
  sent_lately_as_of REAL NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (organization_id, id),
  UNIQUE (organization_id, phone_number),
  FOREIGN KEY (organization_id, messaging_profile_id) REFERENCES messaging_profiles (organization_id, id)
) STRICT;
-- The carriers that numbers are reached through, and how many numbers each of them has.
CREATE INDEX phone_numbers_by_carrier ON phone_numbers (carrier);
-- The numbers of a profile, by phone number: its pool, and its list.
CREATE INDEX phone_numbers_of_profile ON phone_numbers (organization_id, messaging_profile_id, phone_number);
-- A number that a dispatcher or a receipt names by its id alone.
CREATE UNIQUE INDEX phone_numbers_by_id ON phone_numbers (id);
-- Whether another organization registered a phone number.
CREATE INDEX phone_numbers_by_number ON phone_numbers (phone_number, organization_id);

-- Decaying counts of outcomes, as they were at as_of; see domain/health.ts.
CREATE TABLE number_health (
  phone_number_id TEXT PRIMARY KEY,
  delivered REAL NOT NULL,
  failed REAL NOT NULL,
  spam REAL NOT NULL,
  inbound REAL NOT NULL,
  as_of INTEGER NOT NULL,
  reset_at INTEGER -- when an operator reset the counts; outcomes of messages that were submitted before do not count
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL,
  direction TEXT NOT NULL,
  messaging_profile_id TEXT NOT NULL,
  phone_number_id TEXT, -- with the next three columns null while scheduled, unless the caller named a sender
  "from" TEXT,
  carrier TEXT,
  line_type TEXT,
  "to" TEXT NOT NULL,
  text TEXT NOT NULL,
  encoding TEXT NOT NULL,
  parts INTEGER NOT NULL,
  num_chars INTEGER NOT NULL,
  webhook_url TEXT,
  webhook_failover_url TEXT,
  use_profile_webhooks INTEGER NOT NULL,
  status TEXT NOT NULL,
  decision_rule TEXT, -- with the next columns null until there was a decision
  decision_tier TEXT,
  decision_pool_size INTEGER,
  decision_eligible INTEGER,
  decision_excluded TEXT, -- a JSON object of the causes that are not 0; null: none
  decision_is_fallback INTEGER,
  received_at INTEGER NOT NULL,
  send_at INTEGER,
  queued_at INTEGER, -- its place in its number's queue; null while scheduled
  sent_at INTEGER,
  completed_at INTEGER,
  valid_until INTEGER NOT NULL,
  wait_seconds REAL NOT NULL,
  owner TEXT, -- the process that is sending it, or sent it
  submits INTEGER NOT NULL DEFAULT 0,
  submitted_at INTEGER, -- when the latest submit was made
  next_submit_at INTEGER, -- after a temporary refusal; while scheduled, when to decide; null: when there is room
  carrier_message_id TEXT, -- as the carrier wrote it
  carrier_message_key TEXT, -- as it is looked up by; see domain/carrier-message-id.ts
  error_reason INTEGER, -- of the contract's catalogue
  error_detail TEXT
) STRICT;
-- One message by its id, and an organization's messages by time.
CREATE UNIQUE INDEX messages_by_id ON messages (organization_id, id);
-- What waits in a number's queue, oldest first, and how many segments that is.
CREATE INDEX messages_queued ON messages (phone_number_id, queued_at, id, parts) WHERE status = 'queued';
-- Scheduled messages by when they are decided.
CREATE INDEX messages_scheduled ON messages (next_submit_at) WHERE status = 'scheduled' AND next_submit_at IS NOT NULL;
-- What is due and waits for room: the lanes (a profile, or a number that callers named), and the messages of one by their moment.
CREATE INDEX messages_waiting ON messages (organization_id || ' ' || messaging_profile_id || ' ' || coalesce(phone_number_id, ''), send_at, id)
  WHERE status = 'scheduled' AND next_submit_at IS NULL;
-- What expires next.
CREATE INDEX messages_expiring ON messages (valid_until) WHERE status IN ('queued', 'scheduled');
-- What is being sent: by a number, by processes that went, and since when by each carrier.
CREATE INDEX messages_sending ON messages (phone_number_id) WHERE status = 'sending';
-- What awaits a receipt: how many of a number, and those that wait for too long.
CREATE INDEX messages_sent ON messages (phone_number_id, id) WHERE status = 'sent';
-- The message of a receipt.
CREATE INDEX messages_by_carrier_key ON messages (carrier_message_key, carrier) WHERE carrier_message_key IS NOT NULL;

-- What happened to messages, in the order in which it was committed; written by the transaction that caused it.
CREATE TABLE message_events (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  organization_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  status TEXT NOT NULL, -- of the message after it
  changes_status INTEGER NOT NULL, -- whether it was another one before
  occurred_at INTEGER NOT NULL,
  carrier_message_id TEXT,
  carrier_code TEXT,
  error_reason INTEGER,
  detail TEXT
) STRICT;
-- The history of one message.
CREATE INDEX message_events_of_message ON message_events (message_id, sequence);

-- Receipts without a message: they arrived before the answer to their submit, or are about an unknown message.
CREATE TABLE unmatched_receipts (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  carrier TEXT NOT NULL,
  carrier_message_key TEXT NOT NULL, -- as in messages
  carrier_message_id TEXT NOT NULL,
  organization_id TEXT NOT NULL, -- that reported it, and whose messages alone it may fit; '': the carrier itself
  kind TEXT NOT NULL,
  occurred_at INTEGER NOT NULL,
  carrier_code TEXT,
  error_reason INTEGER,
  detail TEXT,
  received_at INTEGER NOT NULL,
  is_examined INTEGER NOT NULL DEFAULT 0, -- only a message with exactly its id can be meant
  UNIQUE (carrier_message_key, carrier, organization_id, kind, carrier_message_id)
) STRICT;
-- Rows to delete by age.
CREATE INDEX unmatched_receipts_by_age ON unmatched_receipts (received_at);
-- What may be about a message whose id is written in another form.
CREATE INDEX unmatched_receipts_to_match ON unmatched_receipts (sequence) WHERE is_examined = 0;

-- The form in which a carrier's receipts write ids, once it is known; see domain/plan/match-receipt.ts.
CREATE TABLE carrier_id_forms (
  carrier TEXT NOT NULL,
  organization_id TEXT NOT NULL, -- that reported the receipts; '': the carrier itself
  form TEXT NOT NULL,
  PRIMARY KEY (carrier, organization_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sticky_mappings (
  organization_id TEXT NOT NULL,
  messaging_profile_id TEXT NOT NULL,
  "to" TEXT NOT NULL,
  phone_number_id TEXT NOT NULL,
  profile_generation INTEGER NOT NULL,
  number_generation INTEGER NOT NULL,
  last_message_at INTEGER NOT NULL,
  PRIMARY KEY (organization_id, messaging_profile_id, "to")
) STRICT, WITHOUT ROWID;
-- Rows to delete by age.
CREATE INDEX sticky_mappings_by_age ON sticky_mappings (last_message_at);

CREATE TABLE opt_outs (
  organization_id TEXT NOT NULL,
  messaging_profile_id TEXT NOT NULL,
  "to" TEXT NOT NULL, -- the recipient that must not be texted
  phone_number TEXT NOT NULL, -- the number of ours that was answered, or ''
  keyword TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (organization_id, messaging_profile_id, "to")
) STRICT, WITHOUT ROWID;
-- An organization's opt-outs, newest first.
CREATE INDEX opt_outs_by_time ON opt_outs (organization_id, created_at);

CREATE TABLE idempotency_keys (
  organization_id TEXT NOT NULL,
  method TEXT NOT NULL,
  key TEXT NOT NULL,
  request_hash BLOB NOT NULL,
  response BLOB NOT NULL, -- the first answer, as protobuf
  created_at INTEGER NOT NULL,
  PRIMARY KEY (organization_id, method, key)
) STRICT, WITHOUT ROWID;
-- Rows to delete by age.
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- The official client's sends without a key, for its own retries. The second comes first so that new rows are neighbours on disk: one
-- look-up asks for each second of its span, and happens only on a retry.
CREATE TABLE recent_sends (
  second INTEGER NOT NULL,
  request_hash BLOB NOT NULL, -- of the API key and the content
  organization_id TEXT NOT NULL,
  message_id TEXT NOT NULL,
  PRIMARY KEY (second, request_hash, message_id)
) STRICT, WITHOUT ROWID;

-- Every change of configuration, in order. Processes read the rows they have not seen to keep fresh what they hold in memory.
CREATE TABLE configuration_changes (
  change_sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  organization_id TEXT NOT NULL,
  id TEXT NOT NULL
) STRICT;

-- Written to test whether the disk accepts writes; the value changes, because an equal one is not written.
CREATE TABLE write_probes (
  count INTEGER NOT NULL
) STRICT;
INSERT INTO write_probes VALUES (0);

-- A row while delivery is held: since then what is queued here may have been sent from another copy of this file.
CREATE TABLE delivery_holds (
  held_since INTEGER NOT NULL
) STRICT;

-- How many messages retention deleted: with those that are there, all that were ever accepted. A backup is verified by it.
CREATE TABLE forgotten_messages (
  count INTEGER NOT NULL
) STRICT;
INSERT INTO forgotten_messages VALUES (0);

-- The oldest program that may use this file: `minimum_program_version` is the newest schema number that a program must know.
-- A migration that older programs cannot live with raises it.
CREATE TABLE schema_compatibility (
  minimum_program_version INTEGER NOT NULL
) STRICT;
INSERT INTO schema_compatibility VALUES (1);
