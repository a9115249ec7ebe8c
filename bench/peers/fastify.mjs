// Fastify with @fastify/http-proxy and a session in Redis: PORT, BACKEND_PORT and REDIS_PORT are in the environment.
import proxy from "@fastify/http-proxy";
import cookie from "@fastify/cookie";
import session from "@fastify/session";
import { RedisStore } from "connect-redis";
import Fastify from "fastify";
import { createClient } from "redis";

const client = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
await client.connect();

const app = Fastify({ logger: false, keepAliveTimeout: 75_000, bodyLimit: 2 ** 30 });
await app.register(cookie);
await app.register(session, {
  secret: "a secret of this measurement alone, nothing else",
  cookie: { secure: false, maxAge: 1_800_000 },
  saveUninitialized: false,
  rolling: false,
  store: new RedisStore({ client }),
});

app.post("/auth/login", async (request) => {
  request.session.user = { id: "377ce22669eec229", username: request.body.username, usertype: "user" };
  return { ret: 0 };
});

await app.register(proxy, {
  upstream: `http://127.0.0.1:${process.env.BACKEND_PORT}`,
  undici: { connections: 1024, pipelining: 1, headersTimeout: 60_000, bodyTimeout: 300_000 },
  preHandler: async (request, reply) => {
    if (request.session.user) return;
    const redirect = `/auth/login?next=${encodeURIComponent(request.raw.url)}`;
    return reply.code(302).send({ ret: 302, msg: "You are not signed in", redirect });
  },
  replyOptions: {
    rewriteRequestHeaders: (request, headers) => ({
      ...headers,
      "x-forwarded-user": request.session.user.id,
      "x-forwarded-preferred-username": request.session.user.username,
      "x-forwarded-usertype": request.session.user.usertype,
    }),
  },
});

await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 16384 });
