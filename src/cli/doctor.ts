import { slotWalBytes } from '../config/derived.ts';
import type { Settings } from '../config/settings.ts';
import { createClient } from '../postgres/connect.ts';
import type { Command } from './command.ts';
import { withDatabase } from './database.ts';
import { connectionsNeeded, readLimits, roomFindings } from './doctor/connection-room.ts';
import { diagnose, type Finding } from './doctor/diagnose.ts';
import { readFacts } from './doctor/facts.ts';
import { replicationFinding } from './doctor/replication-check.ts';
import { counted, indented } from './report.ts';

export const doctor: Command = {
  summary: 'check whether a database is ready for Snö, and say what to do where it is not',
  usage: '[FLAGS]',
  description:
    'Checks version, wal_level, privileges, setup, slots, WAL senders, timeouts, disk limits and connection limits of\n' +
    'the database, and opens a replication connection as `sno start` does.\n' +
    'Exits with 1 if a check fails. `sno check` says what channels need.',
  operands: { min: 0, max: 0 },
  flags: {},
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
  ],
  async run({ settings }) {
    const { isStreaming, found } = await withDatabase(settings, createClient, async (client) => {
      const facts = await readFacts(client, settings.SNO_SLOT, settings.SNO_PUBLICATION);
      const room = roomFindings(await readLimits(client), connectionsNeeded(settings));
      return { isStreaming: facts.slots.own?.active === true, found: [...diagnose(facts, wanted(settings)), ...room] };
    });
    const findings = [...found, await replicationFinding(settings, isStreaming)];
    process.stdout.write(`${findings.map(line).join('\n')}\n\n${summary(findings)}\n`);
    return findings.some(({ level }) => level === 'fail') ? 1 : 0;
  },
};

function wanted(settings: Settings) {
  return {
    slot: settings.SNO_SLOT,
    publication: settings.SNO_PUBLICATION,
    replayWalBytes: settings.SNO_REPLAY_WAL_BYTES,
    slotWalBytes: slotWalBytes(settings),
    slotWalPolicy: settings.SNO_SLOT_WAL_POLICY,
  };
}

function line({ level, message, hint }: Finding): string {
  return `${level.padEnd(4)}  ${message}${hint === undefined ? '' : `\n${indented(indented(indented(hint)))}`}`;
}

function summary(findings: readonly Finding[]): string {
  const count = (level: Finding['level']) => findings.filter((finding) => finding.level === level).length;
  return `${count('ok')} ok, ${counted(count('warn'), 'warning')}, ${count('fail')} failed`;
}
