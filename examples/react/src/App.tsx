import { Suspense, useState } from 'react';
import { useLive, useRow, useStatus } from './sno';

export function App() {
  const [chosen, choose] = useState<number>();
  const { status } = useStatus();
  return (
    <main>
      <h1>Tasks</h1>
      <p id="status">{status}</p>
      <Suspense fallback={<p>Loading</p>}>
        <Tasks choose={choose} />
      </Suspense>
      {chosen !== undefined && <Task id={chosen} />}
    </main>
  );
}

function Tasks({ choose }: { choose: (id: number) => void }) {
  const { rows } = useLive('project:42', { suspense: true });
  return (
    <ul>
      {rows.map((task) => (
        <li key={task.id}>
          <button type="button" onClick={() => choose(task.id)}>
            {task.title}
          </button>
        </li>
      ))}
    </ul>
  );
}

function Task({ id }: { id: number }) {
  const task = useRow('project:42', id);
  return (
    <p id="chosen">{task === undefined ? 'This task is gone.' : `${task.title}: ${task.done ? 'done' : 'open'}`}</p>
  );
}
