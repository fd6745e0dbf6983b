/** Reads a command's arguments: its own flags, and the settings as flags. */
import { parseArgs } from 'node:util';
import { flagOf, SETTING_NAMES, type SettingName } from '../config/settings.ts';
import { SnoError } from '../errors.ts';
import { suggest } from '../suggest.ts';
import type { Command } from './command.ts';

const SETTING_FLAGS: ReadonlyMap<string, SettingName> = new Map(SETTING_NAMES.map((name) => [flagOf(name), name]));

export interface Arguments {
  readonly help: boolean;
  readonly operands: readonly string[];
  readonly flags: ReadonlyMap<string, readonly string[]>;
  readonly settings: Readonly<Partial<Record<SettingName, string>>>;
}

/**
 * Throws `usage` if a flag is unknown, lacks its value or occurs twice, or if operands are missing
 * or too many.
 */
export function readArguments(name: string, command: Command, args: readonly string[]): Arguments {
  const flags = new Map<string, string[]>();
  const settings: Partial<Record<SettingName, string>> = {};
  const operands: string[] = [];
  let help = false;
  for (const token of tokensOf(command, args)) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind !== 'option') continue;
    if (token.name === 'help') {
      help = true;
      continue;
    }
    const flag = Object.hasOwn(command.flags, token.name) ? command.flags[token.name] : undefined;
    // A command's own flag goes before a setting of the same name.
    const setting = flag === undefined ? SETTING_FLAGS.get(token.name) : undefined;
    if (setting === undefined && flag === undefined) throw unknownFlag(name, token.rawName, command);
    const value = valueFor(name, token, setting !== undefined || flag?.value !== undefined);
    const given = flags.get(token.name);
    if ((given !== undefined && flag?.repeated !== true) || (setting !== undefined && setting in settings))
      throw misuse(name, `${token.rawName} occurs twice`);
    if (setting !== undefined) settings[setting] = value;
    else if (given !== undefined) given.push(value);
    else flags.set(token.name, [value]);
  }
  if (!help) checkOperands(name, command, operands);
  return { help, operands, flags, settings };
}

interface OptionToken {
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function tokensOf(command: Command, args: readonly string[]) {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {
    help: { type: 'boolean', short: 'h' },
  };
  for (const flag of SETTING_FLAGS.keys()) options[flag] = { type: 'string' };
  for (const [flag, { value }] of Object.entries(command.flags))
    options[flag] = { type: value === undefined ? 'boolean' : 'string' };
  // Not strict: the messages here say more than those of parseArgs.
  return parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true }).tokens;
}

function valueFor(name: string, { rawName, value, inlineValue }: OptionToken, wanted: boolean): string {
  if (!wanted) {
    if (value !== undefined) throw misuse(name, `${rawName} takes no value`);
    return '';
  }
  const isFlag = inlineValue === false && value?.startsWith('--');
  if (value === undefined || value === '' || isFlag) throw misuse(name, `${rawName} needs a value`);
  return value;
}

function unknownFlag(name: string, rawName: string, command: Command): SnoError {
  const meant = suggest(
    rawName,
    [...Object.keys(command.flags), ...SETTING_FLAGS.keys(), 'help'].map((flag) => `--${flag}`),
  );
  return misuse(name, `unknown flag ${rawName}${meant === undefined ? '' : `; did you mean ${meant}?`}`);
}

function checkOperands(name: string, { operands: { min, max }, usage }: Command, operands: readonly string[]): void {
  if (operands.length < min) throw misuse(name, `missing argument: sno ${name} ${usage}`);
  if (operands.length > max) throw misuse(name, `unexpected argument: ${operands[max]}`);
}

export function misuse(name: string, message: string): SnoError {
  return new SnoError('usage', message, { hint: `See \`sno ${name} --help\`.` });
}
