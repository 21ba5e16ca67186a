/** The receiving end of the hop benchmark, in a process of its own. Takes orders from its parent one by one. */
import { connectReceiver, listenReceiver, type Receiver } from "./hop-link.ts";

/** Address null: listen; otherwise connect. */
export interface ReceiverOrder {
  readonly windowBytes: number;
  readonly address: string | null;
}

let receiver: Receiver | null = null;

async function obey(order: ReceiverOrder): Promise<string | null> {
  await receiver?.close();
  receiver =
    order.address === null
      ? await listenReceiver(order.windowBytes)
      : await connectReceiver(order.address, order.windowBytes);
  return receiver.address;
}

process.on("message", (order: ReceiverOrder) => {
  obey(order).then(
    (address) => process.send?.({ address }),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once("disconnect", () => process.exit());
