/**
 * Derives one verdict on the service from facts: each cause with the command or SQL that ends it.
 */
import { ERRORS, type ErrorCode } from '../../errors.ts';
import { NO_CODE } from '../../metrics/incidents.ts';
import type { Unready } from '../../unready.ts';
import { isSql } from './remedy.ts';
import { slotCauses } from './slot-health.ts';
import type { Cause, CauseLevel, Health, Incident, MachineInfo, ProcessInfo, Slot, ViewRefusal } from './types.ts';

export interface HealthFacts {
  readonly at: number;
  /** Why /readyz answers 503. */
  readonly unready: Unready | undefined;
  /** Null: unknown in this process. */
  readonly slot: Slot | null;
  readonly refusals: readonly ViewRefusal[];
  readonly incidents: readonly Incident[];
  readonly processes: readonly ProcessInfo[];
  readonly relay: MachineInfo['relay'];
  /** Number of client connections whose sockets accept no more bytes now. */
  readonly slowConnections: number;
  readonly certificate: { readonly file: string; readonly expiresAt: number } | undefined;
  /** Settings that let clients in without a check, or keep all out. */
  readonly accessWarnings: readonly Pick<Cause, 'code' | 'message' | 'hint'>[];
  /** Whether SNO_NATS_URL is set. */
  readonly isSeveralMachines: boolean;
}

/** How long an incident counts as recent, in ms. */
const RECENT_MS = 5 * 60_000;
const DAY_MS = 86_400_000;
const CERTIFICATE_DAYS = 14;
const REFUSALS_MAX = 20;
const LEVELS: readonly CauseLevel[] = ['failing', 'degraded', 'notice'];
/** Codes of incidents that other causes show better. */
const SHOWN_ELSEWHERE: ReadonlySet<string> = new Set([
  'slot_wal_exceeded',
  'channel_refused',
  'row_security',
  'pattern_invalid',
  'pattern_conflict',
  'replica_identity',
  'table_unpublished',
  'writers_open',
  'access_open',
  'token_keys_missing',
]);

export function healthOf(facts: HealthFacts): Health {
  const causes = [
    ...readiness(facts),
    ...(facts.slot === null ? [] : slotCauses(facts.slot)),
    ...relayCauses(facts),
    ...certificateCauses(facts),
    ...facts.refusals.slice(0, REFUSALS_MAX).map(refusalCause),
    ...workerCauses(facts),
    ...incidentCauses(facts),
    ...clientCauses(facts),
    ...settingCauses(facts),
  ].sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level));
  const worst = causes.find(({ level }) => level !== 'notice');
  const verdict = worst === undefined ? 'healthy' : (worst.level as 'degraded' | 'failing');
  return {
    verdict,
    isReady: facts.unready === undefined,
    summary: worst === undefined ? 'healthy' : `${verdict}: ${firstLine(worst.message)}`,
    causes,
    at: facts.at,
  };
}

const firstLine = (text: string): string => text.split('\n', 1)[0] as string;

/** A cause with the advice of its error code. */
function known(level: CauseLevel, code: ErrorCode, message: string, panel: Cause['panel']): Cause {
  return { level, code, message, hint: ERRORS[code].hint, panel };
}

function readiness({ unready, isSeveralMachines }: HealthFacts): Cause[] {
  if (unready === undefined) return [];
  const [hint, remedy] = readinessHint(unready, isSeveralMachines);
  return [
    {
      level: 'failing',
      code: 'not_ready',
      message: `clients are sent elsewhere, since the service is not ready: ${unready.text}`,
      hint,
      ...(remedy === undefined ? {} : { remedy: { language: 'shell', text: remedy } }),
      panel: unready.why === 'workers' ? 'processes' : 'slot',
    },
  ];
}

function readinessHint({ why }: Unready, isSeveralMachines: boolean): readonly [hint: string, remedy?: string] {
  switch (why) {
    case 'postgres':
      return [ERRORS.database_unreachable.hint, 'sno doctor'];
    case 'nats':
    case 'stream':
      return [ERRORS.relay_unreachable.hint];
    case 'workers':
      return [ERRORS.worker_failed.hint];
    case 'draining':
      return ['Nothing has to be done: the process is stopping.'];
    case 'starting':
      return [
        isSeveralMachines
          ? 'Wait until the stream has been read. If it lasts, the log says what the process waits for.'
          : 'Wait until the WAL of the slot has been read. If it lasts, look for an old transaction.',
      ];
  }
}

function relayCauses({ relay }: HealthFacts): Cause[] {
  if (relay === null) return [];
  const causes: Cause[] = [];
  if (!relay.isConnected)
    causes.push(
      known(
        'failing',
        'relay_unreachable',
        `this process is not connected to NATS${relay.fault === null ? '' : `: ${relay.fault}`}`,
        'processes',
      ),
    );
  if (relay.isCutOff)
    causes.push(
      known(
        'failing',
        'relay_unreachable',
        'this process is cut off from the stream, and its clients are closed',
        'processes',
      ),
    );
  return causes;
}

function certificateCauses({ at, certificate }: HealthFacts): Cause[] {
  if (certificate === undefined) return [];
  const days = (certificate.expiresAt - at) / DAY_MS;
  if (days > CERTIFICATE_DAYS) return [];
  const date = new Date(certificate.expiresAt).toISOString();
  return [
    {
      level: days <= 0 ? 'failing' : 'degraded',
      code: 'certificate_expires',
      message:
        days <= 0
          ? `the certificate expired at ${date}: clients refuse it`
          : `the certificate expires at ${date}, in ${Math.floor(days)} days`,
      hint: 'Renew the files of SNO_TLS_CERT and SNO_TLS_KEY. Snö reads them again when they change.',
      remedy: { language: 'shell', text: `openssl x509 -noout -dates -in ${shellQuoted(certificate.file)}` },
      panel: 'settings',
    },
  ];
}

function shellQuoted(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function refusalCause({ code, view, message, hint }: ViewRefusal): Cause {
  const isAwaited = code === 'writers_open';
  return {
    level: isAwaited ? 'notice' : 'degraded',
    code,
    message: `${view} is ${isAwaited ? 'not served yet' : 'refused'}: ${message}`,
    hint,
    ...(isSql(hint) ? { remedy: { language: 'sql', text: hint } } : {}),
    panel: 'channels',
  };
}

function workerCauses({ processes }: HealthFacts): Cause[] {
  return processes
    .filter(({ kind, state }) => kind === 'worker' && state !== 'serving')
    .map(({ worker, pid, state }) => ({
      level: 'degraded',
      code: 'worker_missing',
      message: `worker ${worker} (pid ${pid ?? 'unknown'}) serves no clients: it is ${state}`,
      hint: 'Snö starts a worker again by itself, and kills one that makes no progress. The log says why it ended.',
      panel: 'processes',
    }));
}

function incidentCauses({ at, incidents }: HealthFacts): Cause[] {
  const recent = incidents.filter(({ lastAt }) => at - lastAt <= RECENT_MS);
  const causes: Cause[] = [];
  const lagging = recent.find(({ kind, code }) => kind === 'reset' && code === 'lagging');
  if (lagging !== undefined)
    causes.push({
      level: 'degraded',
      code: 'clients_lagging',
      message: `clients did not keep up and were reset, ${times(lagging)}${ofChannel(lagging)}`,
      hint: 'Raise SNO_REPLAY_BYTES or SNO_REPLAY_SECONDS, so that slow clients have longer. Or let clients subscribe to less.',
      panel: 'connections',
    });
  for (const incident of recent.filter(({ kind }) => kind === 'limit'))
    causes.push({
      level: 'degraded',
      code: 'limit_reached',
      message: `clients reached the limit ${incident.code}, ${times(incident)}`,
      hint: 'docs/security.md lists the limits with their settings. Raise the setting if these clients are yours.',
      panel: 'incidents',
    });
  for (const incident of recent.filter(({ kind }) => kind === 'error').filter(isNews))
    causes.push({
      level: levelOf(incident),
      code: incident.code === NO_CODE ? 'error_logged' : incident.code,
      message: `${incident.cause} (logged ${times(incident)})`,
      hint: incident.hint === '' ? 'The log has more.' : incident.hint,
      panel: 'incidents',
    });
  return causes;
}

/** Whether no other cause shows it. */
const isNews = ({ code }: Incident): boolean => !SHOWN_ELSEWHERE.has(code);

/** Warnings that affect many clients. The others are over, or affect one client. */
const FELT: ReadonlySet<string> = new Set<ErrorCode>(['access_failing', 'key_server_failing', 'messages_dropped']);

const levelOf = ({ level, code }: Incident): CauseLevel =>
  level === 'error' || FELT.has(code) ? 'degraded' : 'notice';

const times = ({ count }: Incident): string => (count === 1 ? 'once' : `${count} times`);
const ofChannel = ({ channel }: Incident): string => (channel === null ? '' : `, last in ${channel}`);

function clientCauses({ slowConnections }: HealthFacts): Cause[] {
  if (slowConnections === 0) return [];
  return [
    {
      level: 'notice',
      code: 'clients_slow',
      message: `${slowConnections} client connection${slowConnections === 1 ? ' has' : 's have'} bytes waiting`,
      hint: 'Nothing has to be done: a slow client costs no other client anything.',
      panel: 'connections',
    },
  ];
}

function settingCauses({ accessWarnings }: HealthFacts): Cause[] {
  return accessWarnings.map(({ code, message, hint }) => ({ level: 'notice', code, message, hint, panel: 'settings' }));
}
