/**
 * docs/settings.md, docs/errors.md, docs/expressions.md and docs/metrics.md are generated from the
 * code.
 * `npm run docs` writes them.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Setting } from '../src/config/setting.ts';
import { flagOf, SETTING_GROUPS, type SettingName } from '../src/config/settings.ts';
import { ERRORS } from '../src/errors.ts';
import { LIMITS } from '../src/metrics/metrics.ts';
import { expressionsPage } from './support/expressions-page.ts';
import { metricsPage } from './support/metrics-page.ts';

const WRITTEN_BY = '<!-- Written by `npm run docs`; change the source instead. -->';

const GROUP_TITLES: Record<keyof typeof SETTING_GROUPS, string> = {
  database: 'Database',
  listening: 'Listening',
  access: 'Tokens and access',
  replay: 'Replay',
  memory: 'Memory',
  limits: 'Limits',
  process: 'Process',
  pusher: 'Pusher clients',
  machines: 'Several machines',
  telemetry: 'StatsD and OpenTelemetry',
};

function settingsPage(): string {
  const groups = Object.entries(SETTING_GROUPS).map(([group, settings]) => {
    const rows = Object.entries(settings as Record<string, Setting>).map(
      ([name, { form, fallback, description }]) =>
        `| \`${name}\`<br>\`--${flagOf(name as SettingName)}\` | ${fallback === undefined ? '' : `\`${fallback}\``} | ${description} | ${form.description} |`,
    );
    return `## ${GROUP_TITLES[group as keyof typeof SETTING_GROUPS]}\n\n| setting | default | what it does | value |\n|---|---|---|---|\n${rows.join('\n')}`;
  });
  return `# Settings

${WRITTEN_BY}

Settings are environment variables. Flags of the same name override them: \`SNO_PORT=443\` or \`--port 443\` or
\`--port=443\`. An empty variable counts as not set. An unknown \`SNO_\` variable, an invalid value and a
contradiction are errors that name the setting (\`setting_invalid\`, exit code 2).

Bytes have units of 1,024, as in Postgres: B, kB, MB, GB, TB. Give secrets as variables: flags show in the list of
processes.

${groups.join('\n\n')}
`;
}

const AUDIENCES = {
  operator: ['For operators', 'On the command line (`sno: code: what happened`, then what to do) and in the log.'],
  client: ['For clients', 'In `{"type":"error","code":"...","message":"..."}` frames.'],
} as const;

function errorsPage(): string {
  const parts = Object.entries(AUDIENCES).map(([audience, [title, where]]) => {
    const rows = Object.entries(ERRORS)
      .filter(([, entry]) => entry.audience === audience)
      .map(([code, { cause, hint }]) => `| <a id="${code}"></a>\`${code}\` | ${cell(cause)} | ${cell(hint)} |`);
    return `## ${title}\n\n${where}\n\n| code | what happened | what to do |\n|---|---|---|\n${rows.join('\n')}`;
  });
  return `# Errors

${WRITTEN_BY}

Codes are stable. Messages are for people and may change; each message says exactly what happened. The command line
exits with 2 for \`usage\` and \`setting_invalid\`, with 1 for every other error.

${parts.join('\n\n')}
`;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}

test.each([
  ['settings.md', settingsPage],
  ['errors.md', errorsPage],
  ['expressions.md', () => expressionsPage(WRITTEN_BY)],
  ['metrics.md', () => metricsPage(WRITTEN_BY)],
])('docs/%s is up to date', async (file, page) => {
  await expect(await page()).toMatchFileSnapshot(`../docs/${file}`);
});

test('docs/security.md lists every limit, with settings and codes that exist, and a test that reaches it', () => {
  const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
  const rows = [...read('docs/security.md').matchAll(/^\| `(\w+)` \| (.+) \| (.+) \| (.*)\|$/gm)];
  expect(rows.map(([, limit]) => limit)).toEqual([...LIMITS]);
  const known = new Set<string>([...Object.values(SETTING_GROUPS).flatMap(Object.keys), ...Object.keys(ERRORS)]);
  for (const [, limit = '', setting = '', told = '', file = ''] of rows) {
    const names = [...`${setting} ${told}`.matchAll(/`(SNO_\w+|[a-z]+_[a-z_]+|overloaded)`/g)].map(([, name]) => name);
    expect(names.filter((name) => !known.has(name as string))).toEqual([]);
    expect(read(/`(.+)`/.exec(file)?.[1] ?? 'test/gateway/limits.test.ts')).toContain(limit);
  }
});
