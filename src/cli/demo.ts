import { runDemo } from '../demo/demo.ts';
import { createLogger } from '../logger.ts';
import { misuse } from './arguments.ts';
import type { Command } from './command.ts';
import { stopRequested } from './signals.ts';

export const demo: Command = {
  summary: 'try Snö: an embedded Postgres, Snö, and a web page',
  usage: '[--port PORT] [--no-open]',
  description:
    'Starts an embedded Postgres with example channels, and a web page that shows SQL commits at once.\n' +
    'Everything runs on loopback and is deleted when the demo stops. It needs no database and no setting.',
  operands: { min: 0, max: 0 },
  flags: {
    port: { value: 'PORT', description: 'Port of the page. Default: 8080, or the next free port.' },
    'no-open': { description: 'Do not open the page in a browser.' },
  },
  settings: [],
  async run({ flags }) {
    // If a signal arrives during the start, the demo stops once it has started.
    const stop = stopRequested();
    const running = await runDemo({
      port: readPort(flags.get('port')?.[0]),
      open: !flags.has('no-open'),
      logger: createLogger('warn'),
      say: (line) => process.stdout.write(`${line}\n`),
    });
    try {
      await Promise.race([stop, running.failed]);
    } finally {
      await running.stop();
    }
    return 0;
  },
};

function readPort(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) throw misuse('demo', `--port ${text}: must be a whole number from 0 to 65535`);
  return port;
}
