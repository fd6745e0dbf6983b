/** Commands and settings in the docs exist. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readArguments } from '../../src/cli/arguments.ts';
import { check } from '../../src/cli/check.ts';
import type { Command } from '../../src/cli/command.ts';
import { demo } from '../../src/cli/demo.ts';
import { doctor } from '../../src/cli/doctor.ts';
import { setup } from '../../src/cli/setup.ts';
import { start } from '../../src/cli/start.ts';
import { tail } from '../../src/cli/tail.ts';
import { token } from '../../src/cli/token.ts';
import { types } from '../../src/cli/types.ts';
import { SETTING_NAMES } from '../../src/config/settings.ts';

const ROOT = new URL('../../', import.meta.url);
const COMMANDS: Readonly<Record<string, Command>> = { check, demo, doctor, setup, start, tail, token, types };

const pages = [
  'README.md',
  ...readdirSync(new URL('docs', ROOT), { recursive: true, encoding: 'utf8' }).map((file) => `docs/${file}`),
]
  .filter((page) => page.endsWith('.md') && !/decisions|performance\//.test(page))
  .map((page) => ({ page, text: readFileSync(new URL(page, ROOT), 'utf8') }));

/** Code of a page, line by line: blocks, indented lines, and spans within text. */
function codeOf(text: string): string[] {
  let isFenced = false;
  return text.split('\n').flatMap((line) => {
    if (line.trimStart().startsWith('```')) {
      isFenced = !isFenced;
      return [];
    }
    return isFenced || line.startsWith('    ') ? [line] : [...line.matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
  });
}

/** The commands in a line of a shell, with their arguments as the shell would pass them. */
function commandsOf(line: string): { readonly name: string; readonly args: readonly string[] }[] {
  return line
    .replace(/(^| )#.*/, '')
    .split(/\||&&|;|\$\(|\)/)
    .flatMap((part) => {
      const [, name = '', rest = ''] = /^\s*(?:SNO_\w+=\S+ )*(?:npx (?:--?\S+ )*)?sno ([a-z]+)(.*)$/.exec(part) ?? [];
      if (name === '') return [];
      const args = [...rest.replace(/[0-9]?[<>].*|&\s*$/, '').matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)];
      return [{ name, args: args.map(([, quoted, double, bare]) => quoted ?? double ?? (bare as string)) }];
    });
}

test('commands in the docs have flags, settings and operands that exist', () => {
  let count = 0;
  const faults = pages.flatMap(({ page, text }) =>
    codeOf(text)
      .flatMap(commandsOf)
      .flatMap(({ name, args }) => {
        count++;
        const command = COMMANDS[name];
        // the name of a span
        if (name === 'commit') return [];
        if (command === undefined) return [`${page}: sno ${name}`];
        try {
          // In text, a command is named without its operands, and `[--flag]` may be left out.
          const given = args.map((arg) => arg.replaceAll(/[[\]]/g, '')).filter((arg) => !/^(\.\.\.|…)$/.test(arg));
          const isNamed = command.operands.min > 0 && given.every((arg) => arg.startsWith('-'));
          readArguments(name, isNamed ? { ...command, operands: { min: 0, max: 0 } } : command, given);
          return [];
        } catch (error) {
          return [`${page}: sno ${name} ${args.join(' ')}: ${(error as Error).message}`];
        }
      }),
  );
  expect(faults).toEqual([]);
  expect(count).toBeGreaterThan(100);
});

test('settings in the docs exist', () => {
  const known = new Set<string>(SETTING_NAMES);
  // A name that ends in `_` stands for several. Tests have settings of their own.
  const faults = pages.flatMap(({ page, text }) =>
    [...text.matchAll(/\bSNO_[A-Z0-9_]*[A-Z0-9]\b(?!_)/g)]
      .map(([name]) => name)
      .filter((name) => !known.has(name) && !name.startsWith('SNO_TEST_'))
      .map((name) => `${page}: ${name}`),
  );
  expect(faults).toEqual([]);
});
