import { describe, expect, test } from 'vitest';
import { readArguments } from '../../src/cli/arguments.ts';
import type { Command } from '../../src/cli/command.ts';
import type { SnoError } from '../../src/errors.ts';

const COMMAND: Command = {
  summary: '',
  usage: 'CHANNEL',
  description: '',
  operands: { min: 1, max: 1 },
  flags: {
    snapshot: { description: '' },
    since: { value: 'POSITION', description: '' },
    claim: { value: 'NAME=VALUE', repeated: true, description: '' },
  },
  settings: [],
  run: async () => 0,
};

const read = (...args: string[]) => readArguments('tail', COMMAND, args);

describe('accepted arguments', () => {
  test('reads operands, flags and settings in any order', () => {
    expect(read('--port', '1', 'room:7', '--snapshot', '--claim', 'a=1', '--max-frame-bytes=9', '--claim=b=2')).toEqual(
      {
        help: false,
        operands: ['room:7'],
        flags: new Map([
          ['snapshot', ['']],
          ['claim', ['a=1', 'b=2']],
        ]),
        settings: { SNO_PORT: '1', SNO_MAX_FRAME_BYTES: '9' },
      },
    );
  });

  test('reads everything after -- as an operand', () => {
    expect(read('--', '--snapshot').operands).toEqual(['--snapshot']);
  });

  test('allows a value that begins with one dash, or anything after =', () => {
    expect(read('c', '--port', '-1').settings).toEqual({ SNO_PORT: '-1' });
    expect(read('c', '--since=--x').flags.get('since')).toEqual(['--x']);
  });

  test.each(['--help', '-h'])('%s asks for help, whatever else is missing', (flag) => {
    expect(read(flag).help).toBe(true);
  });
});

describe('refused arguments', () => {
  test.each([
    [['c', '--snapshto'], 'unknown flag --snapshto; did you mean --snapshot?'],
    [['c', '--prot', '1'], 'unknown flag --prot; did you mean --port?'],
    [['c', '--frobnicate'], 'unknown flag --frobnicate'],
    [['c', '-x'], 'unknown flag -x'],
    [['c', '--since'], '--since needs a value'],
    [['c', '--since='], '--since needs a value'],
    [['c', '--since', '--snapshot'], '--since needs a value'],
    [['c', '--port'], '--port needs a value'],
    [['c', '--snapshot=yes'], '--snapshot takes no value'],
    [['c', '--since', 'a', '--since', 'b'], '--since occurs twice'],
    [['c', '--port', '1', '--port', '2'], '--port occurs twice'],
    [[], 'missing argument: sno tail CHANNEL'],
    [['c', 'd'], 'unexpected argument: d'],
    [['c', '--constructor'], 'unknown flag --constructor'],
  ])('%j: %s', (args, message) => {
    expect(() => read(...args)).toThrow(expect.objectContaining({ code: 'usage', message }) as SnoError);
  });
});
