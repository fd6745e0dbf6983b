// How to install and run it: ../../README.md
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './App';
import { SnoProvider, sno } from './sno';

createRoot(document.querySelector('#root') as HTMLElement).render(
  <StrictMode>
    <SnoProvider client={sno}>
      <App />
    </SnoProvider>
  </StrictMode>,
);
