"""List the periodic jobs, from which embedded work, Celery's schedule and its task are derived.

A new job is a generator function beside the code it calls, and a line here.
"""

from __future__ import annotations

from datetime import time, timedelta

from gateway_project.lib.jobs import Job
from responses_api.cache import erasing
from responses_api.enforcement import retention as guardrail_retention
from responses_api.storage import retention
from responses_api.webhooks import audit_delivery, budget_news, delivery
from tenants.audit import chain as audit_chain
from tenants.audit import delivery as audit_syslog
from tenants.audit import jobs as audit
from tenants.audit import sign_ins
from tenants.billing import jobs as billing
from tenants.budgets import alerts
from tenants.deletion import work as deletion
from tenants.ledger import partitions, refusal_retention
from tenants.long_work import running as long_work
from tenants.sign_in import session_store

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

JOBS: tuple[Job, ...] = (
    # Later rounds go on while earlier deliveries wait for slow receivers.
    Job("deliver_webhooks", SECOND, delivery.deliver_due, is_due=delivery.is_any_due, at_once=4),
    # The running hour is summed anew each time: at most 2 % of a core for that.
    Job("sum_usage", 5 * SECOND, billing.sum_usage, is_due=billing.is_anything_to_sum, rest=50),
    Job(
        "backfill_sums",
        MINUTE,
        billing.backfill_sums,
        is_due=billing.is_anything_to_backfill,
    ),
    Job(
        "note_budget_thresholds",
        10 * SECOND,
        budget_news.note_thresholds,
        is_due=alerts.is_anything_spent,
    ),
    Job("send_budget_alerts", MINUTE, budget_news.send_alerts, is_due=alerts.is_any_due),
    Job("run_tasks", 2 * SECOND, long_work.run_tasks, is_due=long_work.is_any_due),
    Job("delete_tenants", 5 * SECOND, deletion.erase_tenants, is_due=deletion.is_any_due),
    Job(
        "erase_cached_answers",
        5 * SECOND,
        erasing.erase_cached_answers,
        is_due=erasing.is_any_due,
    ),
    Job("purge", HOUR, retention.purge_expired, at=time(0, 7)),
    Job("close_periods", HOUR, billing.close_periods, at=time(0, 13)),
    Job("clear_sessions", HOUR, session_store.clear_ended, at=time(0, 27)),
    Job("make_partitions", HOUR, partitions.make_ahead, at=time(0, 37)),
    Job("expire_credits", DAY, billing.expire_credits, at=time(0, 23)),
    Job("purge_usage", DAY, billing.purge_usage, at=time(1, 33)),
    Job("purge_refusals", HOUR, refusal_retention.purge_refusals, at=time(0, 47)),
    Job(
        "purge_guardrail_events",
        HOUR,
        guardrail_retention.purge_guardrail_events,
        at=time(0, 53),
    ),
    Job("check_books", DAY, billing.check_books, at=time(2, 43)),
    # What a process left behind that died after its commit.
    Job("join_audit", 5 * SECOND, audit.join_events, is_due=audit_chain.is_any_pending),
    Job(
        "record_failed_sign_ins",
        MINUTE,
        sign_ins.record_failures,
        is_due=sign_ins.is_any_minute_over,
    ),
    Job(
        "send_audit_to_syslog",
        5 * SECOND,
        audit_syslog.send_to_syslog,
        is_due=audit_syslog.is_syslog_behind,
    ),
    Job(
        "send_audit_to_webhook",
        5 * SECOND,
        audit_delivery.send,
        is_due=audit_delivery.is_behind,
    ),
    Job("keep_audit", DAY, audit.keep_log, at=time(0, 3)),
)
BY_NAME = {job.name: job for job in JOBS}

# Names of Celery tasks before `run_job` existed. Messages of an older version may still carry them.
FORMER_TASKS = {
    "responses_api.tasks.deliver_webhooks": "deliver_webhooks",
    "responses_api.tasks.purge_expired": "purge",
    "responses_api.tasks.note_budget_thresholds": "note_budget_thresholds",
    "responses_api.tasks.send_budget_alerts": "send_budget_alerts",
    "tenants.tasks.sum_usage": "sum_usage",
    "tenants.tasks.close_periods": "close_periods",
    "tenants.tasks.expire_credits": "expire_credits",
    "tenants.tasks.purge_usage": "purge_usage",
    "tenants.tasks.check_books": "check_books",
}
