/** Checks the judge: it must find each mutant, a service that breaks a promise. */
import { expect, test } from 'vitest';
import { NEWEST } from '../support/postgres.ts';
import type { FaultName } from './faults.ts';
import { type Mutation, mutate } from './mutant.ts';
import { play, type Round } from './round.ts';

interface Case {
  readonly mutation: Mutation;
  readonly faults: readonly FaultName[];
  readonly settings: NonNullable<Round['settings']>;
  /** The judge's violation. */
  readonly says: RegExp;
}

const CASES: Readonly<Record<string, Case>> = {
  'acknowledges what it could not replay': {
    mutation: { file: 'journal/retention.js', text: 'return this.#floor;', replacement: 'return head;' },
    faults: ['service killed while clients are away'],
    settings: {},
    says: /reset with position_too_old .* which is not so/,
  },
  'drops what a snapshot did not see yet': {
    mutation: {
      file: 'fanout/subscription.js',
      text: 'xid === 0 || snapshot.visibility.sees(xid)',
      replacement: 'true',
    },
    faults: ['clients rejoin', 'clients rejoin', 'clients rejoin'],
    settings: {},
    says: /after a snapshot: row .* is .*, in the view/,
  },
  'delivers a commit in two halves': {
    mutation: {
      file: 'commit/builder.js',
      text: 'const part = inParts ?',
      replacement: 'const part = false ?',
    },
    faults: [],
    settings: { SNO_COMMIT_BYTES: '300' },
    says: /changes .* came where commit/,
  },
};

test.each(Object.entries(CASES))(
  'the judge finds a fault: %s',
  { timeout: 180_000 },
  async (_, { mutation, says, ...round }) => {
    const mutant = await mutate(mutation);
    try {
      const { violations } = await play({ seed: 1, version: NEWEST, build: mutant.build, subscribers: 6, ...round });
      expect(violations).toContainEqual(expect.stringMatching(says));
    } finally {
      await mutant.remove();
    }
  },
);
