declare module 'fastify' {
  interface FastifyContextConfig {
    /** Open to all, also where there are API keys: health and docs. */
    public?: boolean;
  }
}
