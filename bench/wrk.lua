-- The part of every script for wrk: says what was counted in one line that bench/wrk.py reads.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    "counted requests=%d bytes=%d microseconds=%d connect=%d read=%d write=%d status=%d timeout=%d p50=%d p99=%d\n",
    summary.requests, summary.bytes, summary.duration, errors.connect, errors.read, errors.write, errors.status,
    errors.timeout, latency:percentile(50), latency:percentile(99)))
end
