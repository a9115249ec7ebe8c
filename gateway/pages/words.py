"""Words that depend on a number or a name: how long ago, how long to wait, which device. Both languages."""

from gateway.errors import Language

_UNITS = ((86400, "day", "天"), (3600, "hour", "小时"), (60, "minute", "分钟"))


def ago(seconds: float, language: Language) -> str:
    """`5 minutes ago`; below a minute, and for a clock that is ahead of ours, `just now`."""
    for size, en, zh in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {zh}前" if language == "zh" else f"{_counted(count, en)} ago"
    return "刚刚" if language == "zh" else "just now"


def wait(seconds: int, language: Language) -> str:
    """`Please try again in 40 seconds.` Minutes are rounded up: who waits that long is not refused again."""
    if seconds <= 90:
        return (
            f"请在 {seconds} 秒后重试。" if language == "zh" else f"Please try again in {_counted(seconds, 'second')}."
        )
    minutes = -(-seconds // 60)
    return f"请在 {minutes} 分钟后重试。" if language == "zh" else f"Please try again in {minutes} minutes."


def with_wait(words: str, seconds: int, language: Language) -> str:
    """A sentence that asks for patience, and how much: what stands behind its `;` or `，` is said better so."""
    said = words.partition("，" if language == "zh" else ";")[0]
    return f"{said}。{wait(seconds, language)}" if language == "zh" else f"{said}. {wait(seconds, language)}"


def device(words: str, language: Language) -> str:
    """`Firefox on Linux`, as `gateway.core.devices` says it, in the page's language."""
    browser, on, system = words.partition(" on ")
    return f"{system} 上的 {browser}" if on and language == "zh" else words


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
