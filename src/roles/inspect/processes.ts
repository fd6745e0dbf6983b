/** The processes of this machine, as the admin API shows them. */
import type { ProcessInfo } from '../../admin/api/types.ts';
import type { GatewayAnswer, ProcessFacts } from './questions.ts';
import type { WorkerView } from './view.ts';

type OwnFacts = Omit<ProcessFacts, 'connections' | 'subscriptions' | 'backedUp'>;

/** `answers`: of the workers, or of this process where it serves clients itself. */
export function processInfos(
  own: OwnFacts,
  isReady: boolean,
  workers: readonly WorkerView[],
  answers: readonly GatewayAnswer<ProcessFacts>[],
): readonly ProcessInfo[] {
  const self = answers.find(({ worker }) => worker === null)?.answer;
  const main: ProcessInfo = {
    ...factsOf(own),
    kind: 'main',
    worker: null,
    state: isReady ? 'serving' : 'starting',
    connections: self?.connections ?? null,
    subscriptions: self?.subscriptions ?? null,
    backlogBytes: null,
  };
  return [main, ...workers.map((worker) => workerInfo(worker, answers))];
}

function workerInfo(view: WorkerView, answers: readonly GatewayAnswer<ProcessFacts>[]): ProcessInfo {
  const asked = answers.find(({ worker }) => worker === view.worker);
  const facts = asked?.answer;
  const isSilent = asked !== undefined && facts === undefined;
  return {
    ...factsOf(facts),
    ...view,
    kind: 'worker',
    state: isSilent ? 'silent' : view.state,
    connections: facts?.connections ?? null,
    subscriptions: facts?.subscriptions ?? null,
  };
}

function factsOf(facts: OwnFacts | undefined) {
  return {
    pid: facts?.pid ?? null,
    startedAt: facts?.startedAt ?? null,
    rssBytes: facts?.rssBytes ?? null,
    heapBytes: facts?.heapBytes ?? null,
    cpuCores: facts?.cpuCores ?? null,
    cpuSeconds: facts?.cpuSeconds ?? null,
  };
}
