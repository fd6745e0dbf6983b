/**
 * Derives one verdict on the service from facts: each cause with the command or SQL that ends it.
 */
import { ERRORS, type ErrorCode } from '../../errors.ts';
import { isSql } from './remedy.ts';
import { slotCauses } from './slot-health.ts';
import type { Cause, CauseLevel, Health, Incident, MachineInfo, ProcessInfo, Slot, ViewRefusal } from './types.ts';

export interface HealthFacts {
  readonly at: number;
  /** Why /readyz answers 503. */
  readonly unready: string | undefined;
  /** Null: unknown in this process. */
  readonly slot: Slot | null;
  readonly refusals: readonly ViewRefusal[];
  readonly incidents: readonly Incident[];
  readonly processes: readonly ProcessInfo[];
  readonly relay: MachineInfo['relay'];
  /** Number of client connections whose sockets accept no more bytes now. */
  readonly slowConnections: number;
  readonly certificate: { readonly file: string; readonly expiresAt: number } | undefined;
  readonly isOpenAccess: boolean;
  readonly hasTokenKeys: boolean;
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
      message: `clients are sent elsewhere, since the service is not ready: ${unready}`,
      hint,
      ...(remedy === undefined ? {} : { remedy: { language: 'shell', text: remedy } }),
      panel: unready.includes('worker') ? 'processes' : 'slot',
    },
  ];
}

function readinessHint(unready: string, isSeveralMachines: boolean): readonly [hint: string, remedy?: string] {
  if (unready.includes('Postgres')) return [ERRORS.database_unreachable.hint, 'sno doctor'];
  if (unready.includes('NATS') || unready.includes('stream')) return [ERRORS.relay_unreachable.hint];
  if (unready.includes('worker')) return [ERRORS.worker_failed.hint];
  if (unready === 'draining') return ['Nothing has to be done: the process is stopping.'];
  return [
    isSeveralMachines
      ? 'Wait until the stream has been read. If it lasts, the log says what the process waits for.'
      : 'Wait until the WAL of the slot has been read. If it lasts, look for an old transaction.',
  ];
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
      code: codeOf(incident),
      message: `${incident.cause} (logged ${times(incident)})`,
      hint: incident.hint === '' ? 'The log has more.' : incident.hint,
      panel: 'incidents',
    });
  return causes;
}

/** Warnings logged at start that `settingCauses` shows as long as they hold. */
const AT_START = ['SNO_ACCESS=open', 'no key to check tokens with is set'];

/** Whether no other cause shows it. */
function isNews({ code, cause }: Incident): boolean {
  return !SHOWN_ELSEWHERE.has(code) && !AT_START.some((begins) => cause.startsWith(begins));
}

/** Log lines without a code whose cause affects clients. */
const LINES: readonly (readonly [begins: string, code: string])[] = [
  ['access could not be checked', 'access_failing'],
  ['the key server', 'key_server_failing'],
  ['a published message was dropped', 'messages_dropped'],
  ['a notification was dropped', 'messages_dropped'],
];

function codeOf({ code, cause }: Incident): string {
  if (code !== 'log') return code;
  return LINES.find(([begins]) => cause.startsWith(begins))?.[1] ?? 'error_logged';
}

/** A warning counts as a notice, unless it is one of LINES: it is over, or affects one client. */
function levelOf(incident: Incident): CauseLevel {
  const isFelt = LINES.some(([, code]) => code === codeOf(incident));
  return incident.level === 'error' || isFelt ? 'degraded' : 'notice';
}

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

function settingCauses({ isOpenAccess, hasTokenKeys }: HealthFacts): Cause[] {
  if (isOpenAccess)
    return [
      {
        level: 'notice',
        code: 'access_open',
        message: 'SNO_ACCESS=open: every client may join every channel',
        hint: 'Unset SNO_ACCESS and create access views.',
        panel: 'settings',
      },
    ];
  if (hasTokenKeys) return [];
  return [
    {
      level: 'notice',
      code: 'token_keys_missing',
      message: 'no key to check tokens with is set: clients can join public channels only',
      hint: 'Set SNO_JWT_SECRET (32 bytes or more), SNO_JWT_PUBLIC_KEY or SNO_JWKS_URL.',
      panel: 'settings',
    },
  ];
}
