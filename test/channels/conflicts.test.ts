import { describe, expect, test } from 'vitest';
import { NameIndex } from '../../src/channels/catalog/name-index.ts';
import { type Pattern, parsePattern } from '../../src/channels/catalog/pattern.ts';
import { findConflicts } from '../../src/channels/definitions/conflicts.ts';

const named = (text: string, oid: number) => ({ pattern: parsePattern(text) as Pattern, oid });

describe('conflicts', () => {
  const conflicts = (...claims: { pattern: Pattern; oid: number }[]) =>
    [...findConflicts(claims)].map(([later, earlier]) => [later.pattern.text, earlier.pattern.text]);

  test('the later view is refused', () => {
    expect(conflicts(named('room:{id}', 2), named('room:{name}', 1))).toEqual([['room:{id}', 'room:{name}']]);
  });

  test('a refused view refuses no other', () => {
    // b conflicts with a and c, which do not conflict with each other
    expect(conflicts(named('{x}:1', 2), named('a:{y}', 1), named('b:1', 3))).toEqual([['{x}:1', 'a:{y}']]);
  });

  test('finds a literal name within a pattern, however the others begin', () => {
    expect(conflicts(named('room:', 5), named('room:lobby', 2), named('room:{id}', 3), named('rooms:{id}', 4))).toEqual(
      [['room:{id}', 'room:lobby']],
    );
  });
});

describe('the index of names', () => {
  const index = new NameIndex([
    named('room:{id}', 1),
    named('room:{id}:chat', 2),
    named('rooms', 3),
    named('{a}/{b}', 4),
  ]);
  test.each([
    ['room:7', ['room:{id}', ['7']]],
    ['room:7:chat', ['room:{id}:chat', ['7']]],
    ['rooms', ['rooms', []]],
    ['x/%2F', ['{a}/{b}', ['x', '/']]],
    ['room', undefined],
    ['', undefined],
  ])('finds %s', (name, expected) => {
    const found = index.find(name);
    expect(found && [found.item.pattern.text, found.values]).toEqual(expected);
  });
});
