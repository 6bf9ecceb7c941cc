/**
 * Picked numbers that are on trial. Before a shared store writes such a pick, it locks the numbers
 * for the transaction, so that no other process picks them. Numbers that another transaction locks,
 * or that have an unreported message, are `occupied`; the store then decides again without them.
 */
export type Trials = { readonly trials?: readonly string[] | undefined };
