/** Turns errors of NATS and its client into SnoErrors. */
import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import { AuthorizationError, PermissionViolationError, UserAuthenticationExpiredError } from '@nats-io/transport-node';
import { SnoError } from '../errors.ts';

/** JetStream's error codes (nats-server, server/errors.json). */
const WRONG_LAST_SEQUENCE = 10_071;
const FULL: ReadonlySet<number> = new Set([10_047, 10_077, 10_023, 10_028]);
const CONFIGURATION: ReadonlySet<number> = new Set([10_052, 10_058, 10_065, 10_074, 10_025, 10_005]);
const TOO_LARGE = 10_054;
const NOT_ALLOWED: ReadonlySet<number> = new Set([10_035, 10_039, 10_076]);

export function isWrongLastSequence(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === WRONG_LAST_SEQUENCE;
}

/** Returns the error as a SnoError. */
export function relayFault(error: unknown, stream: string): SnoError {
  if (error instanceof SnoError) return error;
  const { message } = error as Error;
  if (isRefused(error)) return new SnoError('relay_refused', `NATS: ${permanent(message)}`, { cause: error });
  if (error instanceof JetStreamApiError) {
    const text = `the stream ${stream}: ${message} (${error.code})`;
    if (FULL.has(error.code)) return new SnoError('relay_full', text, { cause: error });
    if (NOT_ALLOWED.has(error.code)) return new SnoError('relay_refused', text, { cause: error });
    if (error.code === TOO_LARGE) {
      const hint = `Set max_msg_size of the stream ${stream} to -1: nats stream edit ${stream} --max-msg-size=-1. Snö goes on by itself.`;
      return new SnoError('relay_stream', text, { hint, cause: error });
    }
    if (CONFIGURATION.has(error.code)) return new SnoError('relay_stream', text, { cause: error });
    return new SnoError('relay_unreachable', text, { cause: error });
  }
  if (error instanceof JetStreamError)
    return new SnoError('relay_unreachable', `JetStream does not answer: ${message}`, { cause: error });
  return new SnoError('relay_unreachable', `NATS cannot be reached: ${message}`, { cause: error });
}

/**
 * Replaces random names in subjects by wildcards, as in the permissions of a user. Otherwise each
 * attempt would be another error, and would be logged.
 */
function permanent(message: string): string {
  return message
    .replace(/(?<="_INBOX\.)[^"]*/, '>')
    .replace(/(?<="\$JS\.API\.CONSUMER\.(?:CREATE|INFO|DELETE|MSG\.NEXT)\.[^."]*\.)[^"]*/, '>');
}

function isRefused(error: unknown): boolean {
  return (
    error instanceof AuthorizationError ||
    error instanceof PermissionViolationError ||
    error instanceof UserAuthenticationExpiredError ||
    (error as { cause?: unknown }).cause instanceof PermissionViolationError
  );
}
