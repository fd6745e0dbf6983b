import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const LOWEST = 10_000;
/** The first port that the system assigns to outgoing connections and for port 0. */
const HIGHEST = Math.max(LOWEST + 2000, firstOutgoing());
/**
 * The folder with a file for each port that a test process has taken: its content is the process
 * id.
 */
const TAKEN = join(tmpdir(), 'sno-test-ports');
/** The files of this process. */
const files = new Set<string>();

/**
 * A free port for a server that is killed and started again on it. Until this process ends, no
 * other test process gets it, and the system does not assign it to outgoing connections.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (take(port) && (await isFree(port))) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const listening = once(server, 'listening').then(
    () => true,
    () => false,
  );
  server.listen(port, '127.0.0.1');
  if (!(await listening)) return false;
  server.close();
  await once(server, 'close');
  return true;
}

function take(port: number): boolean {
  const file = join(TAKEN, String(port));
  mkdirSync(TAKEN, { recursive: true });
  try {
    writeFileSync(file, String(process.pid), { flag: 'wx' });
  } catch {
    // The port of a killed process is free again.
    if (!isRunning(ownerOf(file))) rmSync(file, { force: true });
    return false;
  }
  if (files.size === 0) process.once('exit', () => files.forEach((each) => void rmSync(each, { force: true })));
  files.add(file);
  return true;
}

function ownerOf(file: string): number {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0;
  }
}

function isRunning(pid: number): boolean {
  // A file is empty between its creation and the writing of its text.
  if (pid === 0) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function firstOutgoing(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
  } catch {
    // A kernel without this file: gVisor's ports begin here, Linux's at 32,768.
    return 16_000;
  }
}
