/** The texts of `sno --help` and `sno COMMAND --help`. */
import type { Setting } from '../config/setting.ts';
import { flagOf, SETTINGS } from '../config/settings.ts';
import type { Command } from './command.ts';

const WIDTH = 100;

export function overview(commands: readonly (readonly [string, Command])[]): string {
  return `Snö: realtime updates from Postgres commits. Channels are SQL views.

Usage: sno COMMAND [FLAGS]

${table(commands.map(([name, { summary }]) => [name, summary]))}

  sno COMMAND --help    what a command does, with its flags and settings
  sno --version         the version

Settings are environment variables; flags of the same name override them (SNO_PORT = --port).
Exit codes: 0 done, 1 refused or failed, 2 invalid usage or setting.
`;
}

export function commandHelp(name: string, { usage, description, flags, settings }: Command): string {
  const rows = Object.entries(flags).map(
    ([flag, { value, repeated, description: text }]): Row => [
      `--${flag}${value === undefined ? '' : ` ${value}`}${repeated ? ' ...' : ''}`,
      text,
    ],
  );
  const settingRows = settings.map((setting): Row => {
    const { description: text, fallback }: Setting = SETTINGS[setting];
    return [
      `--${flagOf(setting)}`,
      `${text.replaceAll('`', '')}${fallback === undefined ? '' : ` Default: ${fallback}.`} (${setting})`,
    ];
  });
  const sections = [
    `Usage: sno ${name} ${usage}`.trimEnd(),
    description,
    `Flags:\n${table([...rows, ['--help', 'Show this.']])}`,
    ...(settings.length === 0
      ? []
      : [`Settings that matter here, as flags or environment variables:\n${table(settingRows)}`]),
  ];
  return `${sections.join('\n\n')}\n`;
}

type Row = readonly [name: string, description: string];

function table(rows: readonly Row[]): string {
  const column = Math.min(30, Math.max(...rows.map(([name]) => name.length)));
  return rows.map(([name, text]) => row(name, text, column)).join('\n');
}

function row(name: string, text: string, column: number): string {
  const indent = ' '.repeat(column + 4);
  const lines = wrap(text, WIDTH - indent.length);
  const first = name.length > column ? `  ${name}\n${indent}` : `  ${name.padEnd(column + 2)}`;
  return `${first}${lines.join(`\n${indent}`)}`;
}

function wrap(text: string, width: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string;
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
