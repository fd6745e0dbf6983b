/**
 * The nats-server that tests run. SNO_TEST_NATS chooses another one than the machine's: a path, or
 * the Debian release whose package is to be used (`trixie` has 2.10, `sid` has 2.15 or newer).
 */
import { fetchProgram, findProgram } from '../debian-program.ts';

const found = new Map<string, Promise<string>>();

/** Returns the path of nats-server. `which`: as SNO_TEST_NATS. */
export function findNats(which = process.env['SNO_TEST_NATS'] ?? ''): Promise<string> {
  const path = found.get(which) ?? find(which);
  found.set(which, path);
  return path;
}

async function find(which: string): Promise<string> {
  if (which.includes('/')) return which;
  return which === '' ? findProgram('nats-server') : fetchProgram('nats-server', which);
}
