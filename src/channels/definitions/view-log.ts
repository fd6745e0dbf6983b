/** Log lines about views when the definitions change. */
import type { Logger } from '../../logger.ts';
import type { Refusal } from '../channel.ts';
import type { LoadResult } from './entry.ts';
import type { DeclaredView } from './gone-views.ts';

const GONE = {
  channels:
    'the channel view was dropped: its subscribers receive `unsubscribed`, and Snö serves the channel again once the view exists',
  channel_access: 'the access view was dropped: no client may subscribe until it exists again',
  channel_presence: 'the presence view was dropped: no client may appear in the channels until it exists again',
  channel_send: 'the send view was dropped: no client may send to the channels until it exists again',
} as const;

/** Logs views that were dropped, refused, or are served again. A refusal is an error. */
export function logViews(logger: Logger, { refused, gone, back }: LoadResult): void {
  for (const view of gone) logger.info({ view: nameOf(view) }, GONE[view.schema]);
  for (const refusal of refused) logRefusal(logger, refusal);
  for (const view of back) logger.info({ view: nameOf(view) }, 'Snö serves the view again');
}

export function logRefusal(logger: Logger, { schema, pattern, error }: Refusal): void {
  logger.error({ code: error.code, view: nameOf({ schema, pattern }), hint: error.hint }, error.message);
}

function nameOf({ schema, pattern }: DeclaredView): string {
  return `${schema}."${pattern}"`;
}
