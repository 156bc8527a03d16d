import { runProcess } from '@trivec/core/runProcess';

// A process that runs until it is stopped, and says what it does.
await runProcess('any', async ({ resources }) => {
  resources.add({
    close: async () => {
      process.stdout.write('closed\n');
    },
  });
  setInterval(() => {}, 60_000);
  process.stdout.write(`${process.pid}\n`);
});
