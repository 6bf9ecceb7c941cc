/** A row of the configuration that was written or removed. */
export type ConfigurationChange = {
  readonly kind: "messaging_profile" | "phone_number" | "api_key";
  readonly organizationId: string;
  readonly id: string;
};

/** Changes of profiles, numbers and API keys. */
export type ConfigurationChangeStore = {
  /**
   * Calls the listener with every change, in order: a change of this process before the promise of
   * that change resolves, a change of another process within a second. A listener that rejects is
   * called again with the same change later, and delays no other listener. A listener must not wait
   * for a change of its own. Returns how to stop.
   */
  readonly watchConfiguration: (listener: (change: ConfigurationChange) => Promise<void>) => () => void;
};
