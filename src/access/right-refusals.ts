/** Makes the errors that say why a client may not send to a joined channel, or not appear in it. */
import type { ResolvedChannel } from '../channels/served/served.ts';
import { SnoError } from '../errors.ts';

export function sendRefusal(code: 'send_undeclared' | 'send_denied', { name, pattern }: ResolvedChannel): SnoError {
  const view = `channel_send."${pattern.text}"`;
  return code === 'send_undeclared'
    ? new SnoError(code, `no client may send to ${name}`, { detail: `the channel has no send view ${view}` })
    : new SnoError(code, `this token may not send to ${name}`, { detail: `${view} has no row for it` });
}

/** `why`: a reason to add to the message. Undefined: the view has no row. */
export function presenceRefusal(
  code: 'presence_undeclared' | 'presence_denied',
  { name, pattern }: ResolvedChannel,
  why?: string,
): SnoError {
  const view = `channel_presence."${pattern.text}"`;
  if (code === 'presence_undeclared')
    return new SnoError(code, `the channel ${name} has no presence`, {
      detail: `the channel has no presence view ${view}`,
    });
  const message = `this token may not appear in ${name}`;
  return new SnoError(code, why === undefined ? message : `${message}: ${why}`, {
    detail: `${view} has no row for it`,
  });
}
