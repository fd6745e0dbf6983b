/** docs/logs.md has every line that an operator can find in the log. */
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ERRORS } from '../src/errors.ts';
import { type LogLine, logLinesOf } from './support/log-lines.ts';

const ROOT = new URL('../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');

const sources = readdirSync(new URL('src', ROOT), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort()
  .map((file) => [file, read(`src/${file}`)] as const);
const lines = sources.flatMap(([file, source]) => logLinesOf(file, source));

const keyOf = ({ file, level, message }: Pick<LogLine, 'file' | 'level' | 'message'>) =>
  `${file.replace('.ts', '')}, ${level}: ${message}`;

const ROW = /^\| ([\w/-]+) \| (\w+(?:, \w+)?) \| (.+?) \| (.*?) ?\| (.+) \|$/gm;
const rows = [...read('docs/logs.md').matchAll(ROW)].map(
  ([, file = '', level = '', message = '', code = '', advice = '']) => ({ file, level, message, code, advice }),
);

test('docs/logs.md lists each line of the source', () => {
  expect(lines.length).toBeGreaterThan(50);
  const listed = new Set(rows.map(keyOf));
  expect(lines.map(keyOf).filter((key) => !listed.has(key))).toEqual([]);
});

test('docs/logs.md lists no line that the source lacks', () => {
  const text = sources.map(([, source]) => source).join('\n');
  const parts = (message: string) => message.split(/…| \/ /).filter((part) => part.trim() !== '');
  expect(rows.filter(({ message }) => !parts(message).every((part) => text.includes(part)))).toEqual([]);
});

test('each row says what to do, and names codes that exist', () => {
  const codes = rows.flatMap(({ code }) => [...code.matchAll(/`(\w+)`/g)].map(([, name]) => name as string));
  expect(codes.filter((code) => !(code in ERRORS))).toEqual([]);
  expect(rows.filter(({ advice }) => advice.length < 7)).toEqual([]);
});

test('a row has a code where the line has one', () => {
  const coded = new Set(
    lines.filter(({ fields }) => fields.some((field) => /^(code|\.\.\.facts)$/.test(field))).map(keyOf),
  );
  expect(rows.filter((row) => row.code === '' && coded.has(keyOf(row)))).toEqual([]);
});

test('each warning and each error carries a hint', () => {
  const isHinted = ({ fields }: LogLine) => fields.some((field) => /^(hint|\.\.\.\w+)$/.test(field));
  const lacking = lines.filter((line) => /warn|error/.test(line.level) && !isHinted(line));
  expect(lacking.map(keyOf)).toEqual([]);
});

test('the reader of the source finds levels, texts and fields', () => {
  const source = `
    logger.warn({ code, hint: a(b, '}') }, 'one');
    this.#options.logger[isBad ? 'error' : 'warn']({ ...facts }, \`two \${x.map((y) => \`\${y}\`)} end\`);
    logger.info(isNew ? 'made' : 'kept');
    logger.debug({ x }, 'not this');`;
  expect(logLinesOf('a.ts', source)).toEqual([
    { file: 'a.ts', level: 'warn', message: 'one', fields: ['code', 'hint'] },
    { file: 'a.ts', level: 'error, warn', message: 'two … end', fields: ['...facts'] },
    { file: 'a.ts', level: 'info', message: 'made / kept', fields: [] },
  ]);
});
