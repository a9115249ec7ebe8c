// express-session, connect-redis and http-proxy-middleware: PORT, BACKEND_PORT and REDIS_PORT are in the environment.
import http from "node:http";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createProxyMiddleware } from "http-proxy-middleware";
import { createClient } from "redis";

const client = createClient({ url: `redis://127.0.0.1:${process.env.REDIS_PORT}` });
await client.connect();

const app = express();
app.disable("x-powered-by");
app.use(
  session({
    secret: "a secret of this measurement alone, nothing else",
    cookie: { maxAge: 1_800_000 },
    resave: false,
    saveUninitialized: false,
    store: new RedisStore({ client }),
  }),
);

app.post("/auth/login", express.json(), (request, response) => {
  request.session.user = { id: "377ce22669eec229", username: request.body.username, usertype: "user" };
  response.json({ ret: 0 });
});

app.use((request, response, next) => {
  if (request.session.user) return next();
  const redirect = `/auth/login?next=${encodeURIComponent(request.originalUrl)}`;
  return response.status(302).json({ ret: 302, msg: "You are not signed in", redirect });
});

app.use(
  createProxyMiddleware({
    target: `http://127.0.0.1:${process.env.BACKEND_PORT}`,
    agent: new http.Agent({ keepAlive: true, maxFreeSockets: 2048 }),   // without it each request opens a connection
    on: {
      proxyReq: (outgoing, request) => {
        outgoing.setHeader("x-forwarded-user", request.session.user.id);
        outgoing.setHeader("x-forwarded-preferred-username", request.session.user.username);
        outgoing.setHeader("x-forwarded-usertype", request.session.user.usertype);
      },
    },
  }),
);

const server = http.createServer(app);
server.keepAliveTimeout = 75_000;
server.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 16384 });
