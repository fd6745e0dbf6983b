import type { Command } from './command.ts';
import { examine } from './doctor/examine.ts';
import type { Finding } from './doctor/finding.ts';
import { countOf, doctorReport } from './doctor/json.ts';
import { counted, indented } from './report.ts';

export const doctor: Command = {
  summary: 'check whether a database is ready for Snö, and say what to do where it is not',
  usage: '[--json] [FLAGS]',
  description:
    'Checks version, wal_level, privileges, setup, slots, WAL senders, timeouts, disk, clock and connection limits of\n' +
    'the database, its tables and access views, and opens a replication connection as `sno start` does. Also checks the\n' +
    'certificate and the open files of this machine.\n' +
    'With SNO_NATS_URL it also shows which machine reads the WAL, the stream in JetStream, and who reads it.\n' +
    'Exits with 1 if a check fails. `sno check` says what channels need.',
  operands: { min: 0, max: 0 },
  flags: { json: { description: 'Print one JSON document, as docs/json.md describes it.' } },
  settings: [
    'SNO_DATABASE_URL',
    'SNO_SLOT',
    'SNO_PUBLICATION',
    'SNO_REPLAY_WAL_BYTES',
    'SNO_SLOT_WAL_BYTES',
    'SNO_SLOT_WAL_POLICY',
    'SNO_SNAPSHOTS',
    'SNO_ACCESS_QUERIES',
    'SNO_WORKERS',
    'SNO_MAX_CONNECTIONS',
    'SNO_HOST',
    'SNO_TLS',
    'SNO_TLS_CERT',
    'SNO_TLS_KEY',
    'SNO_ROLE',
    'SNO_NATS_URL',
    'SNO_NATS_CREDS',
    'SNO_NATS_CA',
    'SNO_NATS_STREAM',
    'SNO_NATS_REPLICAS',
    'SNO_NATS_MAX_AGE_SECONDS',
    'SNO_NATS_MAX_BYTES',
  ],
  async run({ flags, settings }) {
    const findings = await examine(settings);
    process.stdout.write(
      flags.has('json')
        ? `${JSON.stringify(doctorReport(findings), null, 2)}\n`
        : `${findings.map(line).join('\n')}\n\n${summary(findings)}\n`,
    );
    return countOf(findings, 'fail') > 0 ? 1 : 0;
  },
};

function line({ level, message, hint }: Finding): string {
  return `${level.padEnd(4)}  ${message}${hint === undefined ? '' : `\n${indented(indented(indented(hint)))}`}`;
}

function summary(findings: readonly Finding[]): string {
  return `${countOf(findings, 'ok')} ok, ${counted(countOf(findings, 'warn'), 'warning')}, ${countOf(findings, 'fail')} failed`;
}
