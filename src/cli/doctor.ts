import { slotWalBytes } from '../config/derived.ts';
import type { Settings } from '../config/settings.ts';
import { createClient } from '../postgres/connect.ts';
import { holderOf } from '../wal/slot-holder.ts';
import type { Command } from './command.ts';
import { withDatabase } from './database.ts';
import { connectionsNeeded, readLimits, roomFindings } from './doctor/connection-room.ts';
import { diagnose, type Finding } from './doctor/diagnose.ts';
import { readFacts } from './doctor/facts.ts';
import { machineFindings } from './doctor/machines.ts';
import { replicationFinding } from './doctor/replication-check.ts';
import { counted, indented } from './report.ts';

export const doctor: Command = {
  summary: 'check whether a database is ready for Snö, and say what to do where it is not',
  usage: '[FLAGS]',
  description:
    'Checks version, wal_level, privileges, setup, slots, WAL senders, timeouts, disk limits and connection limits of\n' +
    'the database, and opens a replication connection as `sno start` does.\n' +
    'With SNO_NATS_URL it also shows which machine reads the WAL, the stream in JetStream, and who reads it.\n' +
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
    'SNO_ROLE',
    'SNO_NATS_URL',
    'SNO_NATS_CREDS',
    'SNO_NATS_CA',
    'SNO_NATS_STREAM',
    'SNO_NATS_REPLICAS',
    'SNO_NATS_MAX_AGE_SECONDS',
    'SNO_NATS_MAX_BYTES',
  ],
  async run({ settings }) {
    const { holder, isStreaming, found } = await withDatabase(settings, createClient, async (client) => {
      const facts = await readFacts(client, settings.SNO_SLOT, settings.SNO_PUBLICATION);
      const room = roomFindings(await readLimits(client), connectionsNeeded(settings));
      const holder = await holderOf(client, settings.SNO_SLOT);
      return {
        holder,
        isStreaming: facts.slots.own?.active === true,
        found: [...diagnose(facts, wanted(settings)), ...room],
      };
    });
    const machines = settings.SNO_NATS_URL === undefined ? [] : await machineFindings(settings, holder);
    const findings = [...found, await replicationFinding(settings, isStreaming), ...machines];
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
