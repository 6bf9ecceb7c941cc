-- Times are whole milliseconds since 1970, UTC. Ids are UUIDs of version 7, as text: they sort by time, byte by byte.
-- Every key leads with the organization, so that a larger database can be divided by it.

CREATE TABLE organizations (
  id text COLLATE "C" PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  created_at bigint NOT NULL
);

CREATE TABLE api_keys (
  id text COLLATE "C" PRIMARY KEY,
  organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
  name text COLLATE "C" NOT NULL,
  secret_hash bytea NOT NULL,
  scopes text NOT NULL, -- separated by spaces
  created_at bigint NOT NULL,
  revoked_at bigint
);

CREATE TABLE messaging_profiles (
  sequence bigint GENERATED ALWAYS AS IDENTITY,
  organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
  id text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  enabled boolean NOT NULL,
  webhook_url text,
  webhook_failover_url text,
  whitelisted_destinations text NOT NULL, -- a JSON list
  number_pool_settings text, -- a JSON object; null: the pool is off
  validity_period_seconds integer NOT NULL,
  sticky_generation integer NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  deleted_at bigint, -- gone, but for its numbers, which are rewritten in small steps
  PRIMARY KEY (organization_id, id)
);
-- Deleted profiles, whose numbers are to be rewritten.
CREATE INDEX messaging_profiles_deleted ON messaging_profiles (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE phone_numbers (
  sequence bigint GENERATED ALWAYS AS IDENTITY, -- the order of registration
  organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
  id text COLLATE "C" NOT NULL,
  phone_number text COLLATE "C" NOT NULL,
  messaging_profile_id text COLLATE "C",
  carrier text COLLATE "C" NOT NULL,
  line_type text NOT NULL,
  segments_per_second double precision NOT NULL,
  daily_segment_limit integer,
  state text NOT NULL,
  country_code text NOT NULL,
  tags text NOT NULL, -- a JSON list
  generation integer NOT NULL, -- of its membership in a profile
  due_at double precision NOT NULL DEFAULT 0, -- when a dispatcher may claim it again
  used_day integer NOT NULL DEFAULT 0, -- the last UTC day on which something was sent, in days since 1970
  used_segments bigint NOT NULL DEFAULT 0, -- segments handed to carriers on used_day
  sent_lately double precision NOT NULL DEFAULT 0, -- messages claimed, decaying as health does, as they were at sent_lately_as_of
  sent_lately_as_of double precision NOT NULL DEFAULT 0,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  PRIMARY KEY (organization_id, id),
  UNIQUE (organization_id, phone_number),
  FOREIGN KEY (organization_id, messaging_profile_id) REFERENCES messaging_profiles (organization_id, id)
  -- Claims write into rows over and over, and no index knows of what they write: with room in the page they leave indexes alone.
) WITH (fillfactor = 70);
-- The carriers that numbers are reached through, and how many numbers each of them has.
CREATE INDEX phone_numbers_by_carrier ON phone_numbers (carrier);
-- The numbers of a profile, by phone number: its pool, and its list.
CREATE INDEX phone_numbers_of_profile ON phone_numbers (organization_id, messaging_profile_id, phone_number);
-- A number that a dispatcher or a receipt names by its id alone.
CREATE UNIQUE INDEX phone_numbers_by_id ON phone_numbers (id);
-- Whether another organization registered a phone number.
CREATE INDEX phone_numbers_by_number ON phone_numbers (phone_number, organization_id);

-- Decaying counts of outcomes, as they were at as_of; see domain/health.ts. Every number has a row.
CREATE TABLE number_health (
  phone_number_id text COLLATE "C" PRIMARY KEY REFERENCES phone_numbers (id) ON DELETE CASCADE,
  delivered double precision NOT NULL,
  failed double precision NOT NULL,
  spam double precision NOT NULL,
  inbound double precision NOT NULL,
  as_of bigint NOT NULL,
  reset_at bigint, -- when an operator reset the counts; outcomes of messages that were submitted before do not count
  changed_by xid8 NOT NULL -- the transaction that wrote it last; 0: it never changed
);
-- What changed since a process looked.
CREATE INDEX number_health_changes ON number_health (changed_by);

CREATE TABLE messages (
  organization_id text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  direction text NOT NULL,
  messaging_profile_id text COLLATE "C" NOT NULL,
  phone_number_id text COLLATE "C", -- with the next three columns null while scheduled, unless the caller named a sender
  "from" text COLLATE "C",
  carrier text COLLATE "C",
  line_type text,
  "to" text COLLATE "C" NOT NULL,
  text text NOT NULL,
  encoding text NOT NULL,
  parts integer NOT NULL,
  num_chars integer NOT NULL,
  webhook_url text,
  webhook_failover_url text,
  use_profile_webhooks boolean NOT NULL,
  status text COLLATE "C" NOT NULL,
  decision_rule text, -- with the next columns null until there was a decision
  decision_tier text,
  decision_pool_size integer,
  decision_eligible integer,
  decision_excluded text, -- a JSON object of the causes that are not 0; null: none
  decision_is_fallback boolean,
  received_at bigint NOT NULL,
  send_at bigint,
  queued_at bigint, -- its place in its number's queue; null while scheduled
  sent_at bigint,
  completed_at bigint,
  valid_until bigint NOT NULL,
  wait_seconds double precision NOT NULL,
  owner text COLLATE "C", -- the process that is sending it, or sent it
  submits integer NOT NULL DEFAULT 0,
  submitted_at bigint, -- when the latest submit was made
  next_submit_at bigint, -- after a temporary refusal; while scheduled, when to decide; null: when there is room
  carrier_message_id text, -- as the carrier wrote it
  carrier_message_key text COLLATE "C", -- as it is looked up by; see domain/carrier-message-id.ts
  error_reason integer, -- of the contract's catalogue
  error_detail text,
  -- One message by its id, and an organization's messages by time.
  PRIMARY KEY (organization_id, id)
  -- Each message is rewritten two or three times, and its status is in indexes, so that none of that is done in place: what it
  -- leaves behind is to be cleared while it is a small part of the table.
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
-- What waits in a number's queue, oldest first, and how many segments that is.
CREATE INDEX messages_queued ON messages (phone_number_id, queued_at, id) INCLUDE (parts) WHERE status = 'queued';
-- Scheduled messages by when they are decided.
CREATE INDEX messages_scheduled ON messages (next_submit_at) WHERE status = 'scheduled' AND next_submit_at IS NOT NULL;
-- What is due and waits for room: the lanes (a profile, or a number that callers named), and the messages of one by their moment.
CREATE INDEX messages_waiting ON messages ((organization_id || ' ' || messaging_profile_id || ' ' || coalesce(phone_number_id, '')), send_at, id)
  WHERE status = 'scheduled' AND next_submit_at IS NULL;
-- What expires next.
CREATE INDEX messages_expiring ON messages (valid_until) WHERE status IN ('queued', 'scheduled');
-- What is being sent: by a number, by processes that went, and since when by each carrier.
CREATE INDEX messages_sending ON messages (phone_number_id, owner) WHERE status = 'sending';
-- What awaits a receipt: how many of a number, and those that wait for too long.
CREATE INDEX messages_sent ON messages (phone_number_id, id) WHERE status = 'sent';
-- The message of a receipt.
CREATE INDEX messages_by_carrier_key ON messages (carrier_message_key, carrier) WHERE carrier_message_key IS NOT NULL;

-- What happened to messages; written by the transaction that caused it. What happened to one is in the order of the commits.
CREATE TABLE message_events (
  sequence bigint GENERATED ALWAYS AS IDENTITY,
  organization_id text COLLATE "C" NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  kind text NOT NULL,
  status text NOT NULL, -- of the message after it
  changes_status boolean NOT NULL, -- whether it was another one before
  occurred_at bigint NOT NULL,
  carrier_message_id text,
  carrier_code text,
  error_reason integer,
  detail text,
  -- The history of one message.
  PRIMARY KEY (message_id, sequence)
);

-- Receipts without a message: they arrived before the answer to their submit, or are about an unknown message.
CREATE TABLE unmatched_receipts (
  sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  carrier text COLLATE "C" NOT NULL,
  carrier_message_key text COLLATE "C" NOT NULL, -- as in messages
  carrier_message_id text NOT NULL,
  organization_id text COLLATE "C" NOT NULL, -- that reported it, and whose messages alone it may fit; '': the carrier itself
  kind text NOT NULL,
  occurred_at bigint NOT NULL,
  carrier_code text,
  error_reason integer,
  detail text,
  received_at bigint NOT NULL,
  is_examined boolean NOT NULL DEFAULT false, -- only a message with exactly its id can be meant
  UNIQUE (carrier_message_key, carrier, organization_id, kind, carrier_message_id)
);
-- Rows to delete by age.
CREATE INDEX unmatched_receipts_by_age ON unmatched_receipts (received_at);
-- What may be about a message whose id is written in another form.
CREATE INDEX unmatched_receipts_to_match ON unmatched_receipts (sequence) WHERE NOT is_examined;

-- The form in which a carrier's receipts write ids, once it is known; see domain/plan/match-receipt.ts.
CREATE TABLE carrier_id_forms (
  carrier text COLLATE "C" NOT NULL,
  organization_id text COLLATE "C" NOT NULL, -- that reported the receipts; '': the carrier itself
  form text NOT NULL,
  PRIMARY KEY (carrier, organization_id)
);

CREATE TABLE sticky_mappings (
  organization_id text COLLATE "C" NOT NULL,
  messaging_profile_id text COLLATE "C" NOT NULL,
  "to" text COLLATE "C" NOT NULL,
  phone_number_id text COLLATE "C" NOT NULL,
  profile_generation integer NOT NULL,
  number_generation integer NOT NULL,
  last_message_at bigint NOT NULL,
  PRIMARY KEY (organization_id, messaging_profile_id, "to")
);
-- Rows to delete by age.
CREATE INDEX sticky_mappings_by_age ON sticky_mappings (last_message_at);

CREATE TABLE opt_outs (
  organization_id text COLLATE "C" NOT NULL,
  messaging_profile_id text COLLATE "C" NOT NULL,
  "to" text COLLATE "C" NOT NULL, -- the recipient that must not be texted
  phone_number text NOT NULL, -- the number of ours that was answered, or ''
  keyword text NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (organization_id, messaging_profile_id, "to")
);
-- An organization's opt-outs, newest first.
CREATE INDEX opt_outs_by_time ON opt_outs (organization_id, created_at);

CREATE TABLE idempotency_keys (
  organization_id text COLLATE "C" NOT NULL,
  method text COLLATE "C" NOT NULL,
  key text COLLATE "C" NOT NULL,
  request_hash bytea NOT NULL,
  response bytea NOT NULL, -- the first answer, as protobuf
  created_at bigint NOT NULL,
  PRIMARY KEY (organization_id, method, key)
);
-- Rows to delete by age.
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- The official client's sends without a key, for its own retries. The second comes first so that new rows are neighbours on disk: one
-- look-up asks for each second of its span, and happens only on a retry.
CREATE TABLE recent_sends (
  second bigint NOT NULL,
  request_hash bytea NOT NULL, -- of the API key and the content
  organization_id text COLLATE "C" NOT NULL,
  message_id text COLLATE "C" NOT NULL,
  PRIMARY KEY (second, request_hash, message_id)
);

-- Every change of configuration, in the order in which they were committed: one transaction at a time writes here. Processes read
-- the rows they have not seen to keep fresh what they hold in memory.
CREATE TABLE configuration_changes (
  change_sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind text NOT NULL,
  organization_id text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL
);

-- The processes that send, with the last sign of life of each by its own clock.
CREATE TABLE processes (
  owner text COLLATE "C" PRIMARY KEY,
  last_heartbeat bigint NOT NULL
);

-- What each process contributed to the queues of numbers: what it accepted less what it sent. The owner '' stands for all that
-- are long gone.
CREATE TABLE number_backlog (
  phone_number_id text COLLATE "C" NOT NULL REFERENCES phone_numbers (id) ON DELETE CASCADE,
  owner text COLLATE "C" NOT NULL,
  segments bigint NOT NULL,
  changed_by xid8 NOT NULL, -- the transaction that wrote it last
  PRIMARY KEY (phone_number_id, owner)
);
-- What changed since a process looked.
CREATE INDEX number_backlog_changes ON number_backlog (changed_by);
-- What a process that is long gone left.
CREATE INDEX number_backlog_of_process ON number_backlog (owner);

-- Written to test whether the disk accepts writes; the value changes, because an equal one is not written.
CREATE TABLE write_probes (
  count bigint NOT NULL
);
INSERT INTO write_probes VALUES (0);

-- A row while delivery is held: since then what is queued here may have been sent from another copy of this database.
CREATE TABLE delivery_holds (
  held_since bigint NOT NULL
);

-- The oldest program that may use this database: `minimum_program_version` is the newest schema number that a program must know.
-- A migration that older programs cannot live with raises it.
CREATE TABLE schema_compatibility (
  minimum_program_version integer NOT NULL
);
INSERT INTO schema_compatibility VALUES (1);
