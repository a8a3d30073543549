"""Every path of the API on one screen: method, path, scope, handler. It is the authorisation table (a scope of None is
open to anyone), and the source of the OpenAPI document."""

from __future__ import annotations

from pluggably.api.documents import Documents
from pluggably.api.gate import ANY_KEY, Route
from pluggably.api.generations import GenerationBody, Generations
from pluggably.api.resources import (
    CreatedKey,
    Health,
    Keys,
    Me,
    ModelName,
    ModelPage,
    Models,
    NewKey,
    NewModel,
    Operations,
    Page,
)
from pluggably.domain.access import ApiKey
from pluggably.domain.catalog import Model, WorkerReport
from pluggably.domain.generation import Generation

PAGED = ("limit", "cursor")


def routes(
    generations: Generations, models: Models, keys: Keys, operations: Operations, documents: Documents
) -> list[Route]:
    g, m, k, o, d = "Generations", "Models", "Keys", "Operations", "Documents"
    # fmt: off
    return [
        Route("POST", "/v1/generations", "generate", generations.create, "Generate text or embeddings", tag=g, body=GenerationBody, answer=Generation),

        Route("GET", "/v1/models", "models:read", models.list, "List models", tag=m, answer=ModelPage, query=("modality", "location", "capability", "status", *PAGED)),
        Route("POST", "/v1/models", "models:write", models.register, "Register a model", tag=m, body=NewModel, answer=Model, status=201),
        Route("POST", "/v1/models/load", "models:write", models.load, "Load a local model into memory", tag=m, body=ModelName, answer=Model),
        Route("POST", "/v1/models/unload", "models:write", models.unload, "Free a local model's memory", tag=m, body=ModelName, answer=Model),
        Route("GET", "/v1/models/{id:path}", "models:read", models.get, "Get a model, and which targets would serve it", tag=m, answer=Model, query=("only", "ignore", "order", "sort")),
        Route("DELETE", "/v1/models/{id:path}", "models:write", models.delete, "Forget a registered model", tag=m, status=204, query=("force",)),
        Route("GET", "/v1/workers", "models:read", models.workers, "List the running model processes", tag=m, answer=Page[WorkerReport], query=PAGED),

        Route("GET", "/v1/me", ANY_KEY, keys.me, "Tell what the presented key may do", tag=k, answer=Me),
        Route("GET", "/v1/keys", "admin", keys.list, "List keys", tag=k, answer=Page[ApiKey], query=PAGED),
        Route("POST", "/v1/keys", "admin", keys.create, "Create a key", tag=k, body=NewKey, answer=CreatedKey, status=201),
        Route("DELETE", "/v1/keys/{id}", "admin", keys.revoke, "Revoke a key", tag=k, status=204),

        Route("GET", "/healthz", None, operations.healthz, "Tell whether the process lives", tag=o, answer=Health),
        Route("GET", "/readyz", None, operations.readyz, "Tell whether the gateway can serve", tag=o, answer=Health),
        Route("GET", "/metrics", None, operations.metrics, "Metrics for Prometheus", tag=o),
        Route("GET", "/openapi.json", None, documents.openapi, "This API as an OpenAPI document", tag=d),
        Route("GET", "/docs", None, documents.page, "This API as a page to read", tag=d),
    ]
    # fmt: on
