/**
 * Numbers on trial that were picked. Before such a pick is written, a store that processes share holds the numbers for the transaction,
 * so that no other process picks them meanwhile; those that are held elsewhere or have an unreported message are `occupied`, and what
 * was decided is decided again.
 */
export type Trials = { readonly trials?: readonly string[] | undefined };
