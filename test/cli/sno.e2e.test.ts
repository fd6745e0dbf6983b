import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { SNO } from '../support/service.ts';
import { sno } from './run.ts';

const COMMANDS = ['demo', 'start', 'setup', 'check', 'doctor', 'tail', 'token'];
const SECRET = 'a secret that has thirty-two bytes';

describe('help', () => {
  test('--help lists every command', async () => {
    const { code, stdout, stderr } = await sno(['--help']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} +\\S`, 'm'));
  });

  test('prints the help as an error if the command is missing', async () => {
    const { code, stdout, stderr } = await sno([]);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain('Usage: sno COMMAND');
  });

  test.each(COMMANDS)('sno %s --help', async (command) => {
    const { code, stdout, stderr } = await sno([command, '--help']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toMatch(new RegExp(`^Usage: sno ${command}`));
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  });

  test('--version prints the version of package.json', async () => {
    const manifest = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(await sno(['--version'])).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' });
  });
});

describe('prints each error with its code and hint, and sets the exit code', () => {
  test.each([
    [2, ['strat'], {}, /^sno: usage: unknown command strat; did you mean start\?\n {2}See `sno --help`\.\n$/],
    [2, ['start', '--prot', '1'], {}, /^sno: usage: unknown flag --prot; did you mean --port\?\n/],
    [2, ['tail', 'a', '--snapshot', '--since', 'x'], {}, /^sno: usage: --snapshot and --since exclude each other/],
    [2, ['tail', 'a', '--url', 'ftp://x'], {}, /^sno: usage: --url ftp:\/\/x: must be a URL/],
    [2, ['start', '--port', 'x'], {}, /^sno: setting_invalid: SNO_PORT \(--port\): .*got "x"\n/],
    [2, ['start'], { SNO_PORT: 'x' }, /^sno: setting_invalid: SNO_PORT: .*got "x"\n/],
    [2, ['start'], { SNO_PROT: '1' }, /^sno: setting_invalid: SNO_PROT: unknown setting; did you mean SNO_PORT\?\n/],
    [2, ['start'], { SNO_HOST: '0.0.0.0' }, /^sno: setting_invalid: SNO_HOST: 0\.0\.0\.0 is not a loopback address/],
    [2, ['start'], {}, /^sno: setting_invalid: SNO_DATABASE_URL: is not set/],
    [2, ['token', '--claim', 'sub=u1'], {}, /^sno: setting_invalid: SNO_JWT_SECRET: is not set/],
    [
      1,
      ['start'],
      // few connections avoid a warning about this machine's limit of open files
      { SNO_DATABASE_URL: 'postgres://127.0.0.1:1/x', SNO_ADMIN_PORT: '0', SNO_MAX_CONNECTIONS: '100' },
      /^sno: database_unreachable: /m,
    ],
    [1, ['doctor'], { DATABASE_URL: 'postgres://127.0.0.1:1/x' }, /^sno: database_unreachable: .*127\.0\.0\.1:1\n/],
    [1, ['tail', 'a', '--port', '1'], {}, /^sno: server_unreachable: cannot connect to ws:\/\/127\.0\.0\.1:1\/v1/],
  ] as const)('%d: sno %j %j', async (code, args, environment, message) => {
    const result = await sno(args, environment);
    expect(result.stderr).toMatch(message);
    expect(result.stderr).not.toMatch(/^ +at .*:\d+/m);
    expect(result.stdout).toBe('');
    expect(result.code).toBe(code);
  });

  test('does not print secrets', async () => {
    const { stderr } = await sno(['start', '--database-url', 'mysql://u:hunter2@h/d'], { SNO_JWT_SECRET: 'hunter2' });
    expect(stderr).toContain('SNO_DATABASE_URL (--database-url): must be');
    expect(stderr).toContain('SNO_JWT_SECRET: must be');
    expect(stderr).not.toContain('hunter2');
  });
});

describe('token', () => {
  test('signs the claims', async () => {
    const args = ['token', '--claim', 'sub=u1', '--claim=role=x', '--claim', 'orgs=["a","b"]', '--expires', '2h'];
    const { code, stdout } = await sno(args, { SNO_JWT_SECRET: SECRET });
    expect(code).toBe(0);
    const { payload } = await jwtVerify(stdout.trim(), new TextEncoder().encode(SECRET));
    expect(payload).toMatchObject({ sub: 'u1', role: 'x', orgs: ['a', 'b'] });
    expect((payload.exp as number) - (payload.iat as number)).toBe(7_200);
  });

  test('accepts the secret as a flag', async () => {
    const { stdout } = await sno(['token', '--claim', 'sub=u1', `--jwt-secret=${SECRET}`]);
    expect((await jwtVerify(stdout.trim(), new TextEncoder().encode(SECRET))).payload.sub).toBe('u1');
  });
});

test('a reader that closes the output early causes no error', async () => {
  const shell = spawn('sh', ['-c', '"$0" "$1" start --help | head -1; wait', process.execPath, SNO], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  shell.stderr.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  const [code] = await once(shell, 'close');
  expect(stderr).toBe('');
  expect(code).toBe(0);
});
