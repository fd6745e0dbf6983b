import { describe, expect, test } from 'vitest';
import {
  channelName,
  matchPattern,
  type Pattern,
  parsePattern,
  patternsConflict,
} from '../../src/channels/catalog/pattern.ts';
import { SnoError } from '../../src/errors.ts';

function pattern(text: string): Pattern {
  const result = parsePattern(text);
  if (result instanceof SnoError) throw result;
  return result;
}

describe('parsePattern', () => {
  test.each([
    ['lobby', [], ['lobby']],
    ['project:{project_id}', ['project_id'], ['project:', '']],
    ['{tenant}/room:{room id}/members', ['tenant', 'room id'], ['', '/room:', '/members']],
    ['a.b-c_d/{x}:.{y}', ['x', 'y'], ['a.b-c_d/', ':.', '']],
    ['{größe"}', ['größe"'], ['', '']],
  ])('%s', (text, columns, literals) => {
    expect(parsePattern(text)).toEqual({ text, columns, literals });
  });

  test.each([
    ['', 'empty'],
    ['room {id}', 'the character " "'],
    ['room~{id}', 'the character "~"'],
    ['raum:ä', 'the character "ä"'],
    ['raum:😀', 'the character "😀"'],
    ['room:{id', 'a brace'],
    ['room:id}', 'a brace'],
    ['room:{{id}}', 'a brace'],
    ['room:{}', 'has no column name'],
    ['{id}:{id}', 'it contains {id} twice'],
    ['{a}{b}', 'nothing stands between'],
    ['{a}-{b}', 'only "-" stands between'],
    ['{a}.x.{b}', 'only ".x." stands between'],
    [`room:${'x'.repeat(58)}`, 'it is 63 bytes long'],
    [`${'ä'.repeat(31)}:`, 'it is 63 bytes long'],
  ])('refuses %s', (text, reason) => {
    expect(parsePattern(text)).toMatchObject({ code: 'pattern_invalid', message: expect.stringContaining(reason) });
  });

  test('accepts a name of 62 bytes', () => {
    expect(parsePattern(`room:{${'ä'.repeat(27)}}x`)).not.toBeInstanceOf(SnoError);
  });
});

describe('names', () => {
  test.each([
    ['project:{id}', ['42'], 'project:42'],
    ['project:{id}', [''], 'project:'],
    ['{a}:{b}/x', ['a:b', 'ü/%'], 'a%3Ab:%C3%BC%2F%25/x'],
    ['{a}', ['A-Za.z0_9~'], 'A-Za.z0_9~'],
    ['{a}', ["!'()* \n"], '%21%27%28%29%2A%20%0A'],
    ['{a}', ['😀'], '%F0%9F%98%80'],
    ['{a}x:y{b}', ['xx', 'yy'], 'xxx:yyy'],
    ['lobby', [], 'lobby'],
  ])('%s with %j is %s, in both directions', (text, values, name) => {
    expect(channelName(pattern(text), values)).toBe(name);
    expect(matchPattern(pattern(text), name)).toEqual(values);
  });

  test.each([
    ['project:{id}', 'project'],
    ['project:{id}', 'projects:1'],
    ['project:{id}', 'project:1:2'],
    ['project:{id}', 'project:1/2'],
    ['project:{id}', 'project:%2f'],
    ['project:{id}', 'project:%2'],
    ['project:{id}', 'project:%41'],
    ['project:{id}', 'project:%FF'],
    ['project:{id}', 'project:%C0%80'],
    ['project:{id}', 'project:%ED%A0%80'],
    ['project:{id}', 'project:%00'],
    ['project:{id}', 'project: '],
    ['project:{id}', 'project:ä'],
    ['project:{id}', 'project:a+b'],
    ['{a}:{b}', 'a'],
    ['{a}x:y{b}', 'a:b'],
    ['{a}x:y{b}', 'x:'],
    ['a{x}a', 'a'],
    ['lobby', 'lobby2'],
  ])('%s does not match %s', (text, name) => {
    expect(matchPattern(pattern(text), name)).toBeUndefined();
  });
});

describe('patternsConflict', () => {
  test.each([
    ['lobby', 'lobby', true],
    ['lobby', 'lobbies', false],
    ['room:{id}', 'room:{name}', true],
    ['room:{id}', 'room:all', true],
    ['room:{id}', 'room:', true],
    ['room:{id}', 'room:a/b', false],
    ['room:{id}', 'rooms:{id}', false],
    ['room:{id}', 'room:{id}/members', false],
    ['{a}:b', 'a:{b}', true],
    ['{a}x', 'y{b}', true],
    ['{a}:x{b}', '{a}y:{b}', true],
    ['{a}', '{a}:{b}', false],
    ['{a}/{b}', '{a}:{b}', false],
  ])('%s and %s: %s', (a, b, conflict) => {
    expect(patternsConflict(pattern(a), pattern(b))).toBe(conflict);
    expect(patternsConflict(pattern(b), pattern(a))).toBe(conflict);
  });
});
