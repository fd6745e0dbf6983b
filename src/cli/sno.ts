#!/usr/bin/env node
/**
 * The command line: finds the command, reads its arguments and settings, runs it, and prints
 * errors.
 */
import { secretValues } from '../config/derived.ts';
import { readSettings, readValues, settingSources } from '../config/read.ts';
import { SnoError } from '../errors.ts';
import { VERSION } from '../metrics/version.ts';
import { hideSecrets } from '../redaction.ts';
import { suggest } from '../suggest.ts';
import { readArguments } from './arguments.ts';
import type { Command, ExitCode } from './command.ts';
import { commandHelp, overview } from './help.ts';
import { describeError, exitCodeOf } from './report.ts';

/** The commands. Each is loaded when it is needed, so that light ones start fast. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  demo: async () => (await import('./demo.ts')).demo,
  start: async () => (await import('./start.ts')).start,
  setup: async () => (await import('./setup.ts')).setup,
  check: async () => (await import('./check.ts')).check,
  doctor: async () => (await import('./doctor.ts')).doctor,
  types: async () => (await import('./types.ts')).types,
  tail: async () => (await import('./tail.ts')).tail,
  token: async () => (await import('./token.ts')).token,
};

async function main([name, ...args]: readonly string[]): Promise<ExitCode> {
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const commands = await Promise.all(
      Object.entries(COMMANDS).map(async ([key, load]) => [key, await load()] as const),
    );
    (name === undefined ? process.stderr : process.stdout).write(overview(commands));
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined) throw unknownCommand(name);
  const command = await load();
  const { help, operands, flags, settings } = readArguments(name, command, args);
  if (help) {
    process.stdout.write(commandHelp(name, command));
    return 0;
  }
  const read = command.serves === true ? readSettings : readValues;
  const all = read(process.env, settings);
  hideSecrets(secretValues(all));
  return command.run({ operands, flags, settings: all, sources: settingSources(process.env, settings) });
}

function unknownCommand(name: string): SnoError {
  const kind = name.startsWith('-') ? 'flag' : 'command';
  const meant = suggest(name, Object.keys(COMMANDS));
  return new SnoError('usage', `unknown ${kind} ${name}${meant === undefined ? '' : `; did you mean ${meant}?`}`, {
    hint: 'See `sno --help`.',
  });
}

// The reader of the output may stop reading (`sno tail ... | head`): that is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(describeError(error));
  process.exitCode = exitCodeOf(error);
}
