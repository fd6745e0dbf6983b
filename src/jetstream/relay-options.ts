/** The settings of the connection to NATS and of its stream. */
import type { Settings } from '../config/settings.ts';
import type { Logger } from '../logger.ts';

export interface RelayOptions {
  /** URLs of NATS servers. */
  readonly servers: readonly string[];
  readonly credsFile: string | undefined;
  readonly caFile: string | undefined;
  readonly stream: string;
  readonly replicas: number;
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  readonly logger: Logger;
}

export function relayOptions(settings: Settings, logger: Logger): RelayOptions {
  return {
    servers: settings.SNO_NATS_URL ?? [],
    credsFile: settings.SNO_NATS_CREDS,
    caFile: settings.SNO_NATS_CA,
    stream: settings.SNO_NATS_STREAM,
    replicas: settings.SNO_NATS_REPLICAS,
    maxAgeMs: settings.SNO_NATS_MAX_AGE_SECONDS * 1_000,
    maxBytes: settings.SNO_NATS_MAX_BYTES,
    logger,
  };
}
