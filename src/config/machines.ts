/** The settings of several machines: the stream in NATS JetStream that joins them. */
import { bytes, file, integer, oneOf, servers, streamName } from './forms.ts';
import { optional, secret, setting } from './setting.ts';

export const MACHINES = {
  SNO_NATS_URL: secret(
    servers,
    'NATS servers whose JetStream carries the stream from the process that reads the WAL to all processes that serve clients. Every machine runs the same `sno start`: see docs/scale.md.',
  ),
  SNO_NATS_CREDS: optional(file, 'Credentials file for NATS. Snö reads it again at each connection.'),
  SNO_NATS_CA: optional(file, 'PEM file with the certificates that the NATS servers are checked against.'),
  SNO_NATS_STREAM: setting(streamName, 'SNO', 'Name of the stream. Snö makes it where it is missing.'),
  SNO_NATS_REPLICAS: setting(integer(1, 5), '1', 'Servers that keep the stream: 3 in a cluster.'),
  SNO_NATS_MAX_AGE_SECONDS: setting(
    integer(60, 31_536_000),
    '3600',
    'Seconds for which the stream keeps events. Clients can resume from them on any machine.',
  ),
  SNO_NATS_MAX_BYTES: setting(bytes(1 << 20), '4GB', 'Bytes of events that the stream keeps.'),
  SNO_NATS_SYNC_SECONDS: setting(
    integer(0, 3_600),
    '120',
    'The sync_interval of the NATS servers. A power cut may lose what JetStream confirmed within this time, so Postgres keeps its WAL for that long.',
  ),
  SNO_RELAY_SILENCE_SECONDS: setting(
    integer(5, 3_600),
    '15',
    'Seconds after which a process that cannot read the stream closes its clients (close code 1013), if other processes go on.',
  ),
  SNO_ROLE: setting(
    oneOf('all', 'ingest', 'gateway'),
    'all',
    '`ingest` reads the WAL, or stands by for the slot. `gateway` serves clients. `all` does both. Without SNO_NATS_URL only `all` is possible.',
  ),
} as const;
