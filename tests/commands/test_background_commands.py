"""background_worker and beat refuse what cannot work, and the Celery app is set up as promised."""

from __future__ import annotations

from pathlib import Path

from pytest_django import Settings

from gateway_project import celery_programs
from gateway_project.celery import BACKGROUND_QUEUE, DEFAULT_QUEUE, app, configuration
from gateway_project.lib.secret import Secret
from tests.commands.running import process, refusal
from tests.plugins.cases import cases


@cases("command", ["background_worker", "beat"])
def test_where_serve_does_it_itself_there_is_nothing_to_run(command: str):
    assert refusal(command).startswith("TOLLGATE_TASKS is 'embedded'")


@cases(
    ("options", "message"),
    [
        (("--queues", "nope"), "queues: Choose from tollgate, tollgate.background."),
        (("--queues", "tollgate,nope"), "queues: Choose from"),
        (("--queues", ","), "queues: Choose from"),
        (("--concurrency", "0"), "concurrency: Must be at least 1."),
    ],
)
def test_a_worker_names_what_is_wrong(options: tuple[str, ...], message: str, settings: Settings):
    settings.TASKS = "celery"

    assert refusal("background_worker", *options).startswith(message)


def test_celery_needs_redis(tmp_path: Path):
    refused = process(tmp_path, "doctor", TOLLGATE_TASKS="celery")

    assert refused.returncode == 1
    assert "TOLLGATE_TASKS is 'celery', which needs REDIS_URL." in refused.stderr


def test_an_unknown_way_to_run_tasks_is_refused(tmp_path: Path):
    refused = process(tmp_path, "doctor", TOLLGATE_TASKS="threads")

    assert "TOLLGATE_TASKS is 'threads'; expected one of embedded, celery." in refused.stderr


def test_background_runs_have_a_queue_of_their_own():
    def queue_of(task: str) -> str:
        return str(app.amqp.router.route({}, task)["queue"].name)

    assert queue_of("responses_api.tasks.run_background") == BACKGROUND_QUEUE
    assert queue_of("responses_api.tasks.purge_expired") == DEFAULT_QUEUE
    assert queue_of("responses_api.tasks.run_job") == DEFAULT_QUEUE
    assert set(celery_programs.QUEUES) == {BACKGROUND_QUEUE, DEFAULT_QUEUE}


def test_messages_are_json_and_results_are_not_kept():
    conf = app.conf

    assert (conf.task_serializer, conf.accept_content) == ("json", ["json"])
    assert (conf.result_backend, conf.task_ignore_result) == (None, True)
    assert not conf.task_acks_late
    assert not conf.worker_enable_remote_control


def test_the_password_of_the_broker_is_not_in_what_celery_prints():
    secret = "rediscanary4711"
    printed = type(app)("other")
    printed.conf.update(configuration(Secret(f"redis://:{secret}@127.0.0.1:1/0")))

    told = [
        repr(printed),
        printed.connection().as_uri(),
        repr(printed.connection()),
        printed.bugreport(),
        printed.conf.humanize(),
    ]

    assert not any(secret in text for text in told)
