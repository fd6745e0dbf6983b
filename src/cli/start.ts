import { printable } from '../config/derived.ts';
import { SETTING_NAMES } from '../config/settings.ts';
import { createLogger, type Logger } from '../logger.ts';
import { startService } from '../main.ts';
import { boundGarbage } from '../memory/garbage.ts';
import { Incidents } from '../metrics/incidents.ts';
import type { Command } from './command.ts';
import { describeError } from './report.ts';
import { stopRequested } from './signals.ts';

/** How long the process may take to end once everything has stopped, in ms. */
const END_MS = 5_000;

export const start: Command = {
  summary: 'run the service',
  usage: '[FLAGS]',
  description:
    'Reads the WAL and serves clients until it is told to stop. On SIGTERM or SIGINT it reports not ready, closes its\n' +
    'client connections within SNO_DRAIN_SECONDS (close code 1001), and exits with 0. A second signal ends it at once.',
  operands: { min: 0, max: 0 },
  flags: {},
  settings: SETTING_NAMES,
  serves: true,
  async run({ settings, sources }) {
    boundGarbage();
    const incidents = new Incidents();
    const logger = createLogger(settings.SNO_LOG_LEVEL, undefined, incidents);
    logger.debug({ settings: printable(settings) }, 'settings');
    for (const event of ['uncaughtException', 'unhandledRejection'] as const)
      process.on(event, (error) => die(logger, error));
    const stop = stopRequested((signal, isSecond) =>
      logger.info({ signal }, isSecond ? 'stopping at once' : 'stopping'),
    );
    const starting = startService(settings, logger, { sources, incidents });
    const service = await Promise.race([starting, stop]);
    // The signal arrived before the service had clients: nothing needs an orderly end.
    if (service === undefined) process.exit(0);
    try {
      await Promise.race([stop, service.failed]);
    } finally {
      await service.stop();
    }
    logger.info('stopped');
    setTimeout(() => endBug(logger), END_MS).unref();
    return 0;
  },
};

/** Ends the process although something that was not stopped still runs. */
function endBug(logger: Logger): never {
  const running = process.getActiveResourcesInfo();
  logger.fatal({ running }, 'this is a bug, please report it: the service has stopped, but its process did not end');
  process.exit(1);
}

/** Ends the process after a bug, since its state is unknown. */
function die(logger: Logger, error: unknown): never {
  logger.fatal({ err: error }, 'this is a bug, please report it');
  process.stderr.write(describeError(error));
  process.exit(1);
}
