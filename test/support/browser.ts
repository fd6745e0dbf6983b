/** A real browser for tests: Chromium out of npm, which needs nothing of the system but the C library. */
import { access } from 'node:fs/promises';
import chromium from '@sparticuz/chromium';
import { type Browser, chromium as playwright } from 'playwright-core';

/** Where Debian and others put theirs, for machines that the one from npm was not made for. */
const INSTALLED = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The sandbox does not run as root, a container's /dev/shm is small, and there is no GPU. Nothing else differs from a user's. */
const ARGUMENTS = ['--no-sandbox', '--no-zygote', '--disable-dev-shm-usage', '--disable-gpu'];

/** Headless; the caller closes it. */
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
  throw new Error(`no browser: the one from npm is for Linux on x64, and there is none in ${INSTALLED.join(', ')}`);
}
