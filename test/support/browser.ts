/** A real browser for tests: Chromium from npm, which needs only the system's C library. */
import { access } from 'node:fs/promises';
import chromium from '@sparticuz/chromium';
import { type Browser, chromium as playwright } from 'playwright-core';

/** Paths of installed browsers, for machines that do not run the one from npm. */
const INSTALLED = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/**
 * The sandbox does not run as root, a container's /dev/shm is small, and there is no GPU. Otherwise
 * the browser is as a user has it.
 */
const ARGUMENTS = ['--no-sandbox', '--no-zygote', '--disable-dev-shm-usage', '--disable-gpu'];

/** Starts the browser headless. The caller closes it. */
export async function launchBrowser(...args: readonly string[]): Promise<Browser> {
  return playwright.launch({ executablePath: await findBrowser(), args: [...ARGUMENTS, ...args], headless: true });
}

async function findBrowser(): Promise<string> {
  if (process.platform === 'linux' && process.arch === 'x64') return chromium.executablePath();
  for (const path of INSTALLED) {
    const found = await access(path).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  throw new Error(`no browser: the one from npm is for Linux on x64, and none is installed in ${INSTALLED.join(', ')}`);
}
