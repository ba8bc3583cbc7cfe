# The engine's image: docker-compose builds it for the worker and the services that initialise.

# --- install: the dependencies of every extra, at the versions and hashes of requirements.lock; no development tools ---
# hub.docker.com/_/python/tags
ARG PYTHON_IMAGE=python:3.12.11-slim
FROM ${PYTHON_IMAGE} AS install
RUN pip install --no-cache-dir "uv>=0.5,<1"
WORKDIR /app
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN python -m venv --without-pip /opt/venv \
 && uv pip install --no-cache --compile-bytecode --python /opt/venv/bin/python \
      --constraint requirements.lock --requirements pyproject.toml --all-extras
COPY engine engine
COPY sources sources
COPY destinations destinations
RUN uv pip install --no-cache --python /opt/venv/bin/python --no-deps --editable .

# --- run: the interpreter, the packages, the project; no compiler, no package manager of Python in the environment ---
FROM ${PYTHON_IMAGE} AS run
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin engine \
 && mkdir -p /app/.data \
 && chown engine:engine /app/.data
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app
COPY --from=install /opt/venv /opt/venv
WORKDIR /app
COPY --from=install /app ./
COPY pipelines.yaml pipelines.schema.json ./
COPY --chown=engine:engine transforms transforms
COPY data data
COPY deploy/initialise.py deploy/initialise.py
COPY deploy/trino/catalog.sql deploy/trino/catalog.sql
USER engine
ENTRYPOINT ["engine"]
CMD ["--help"]
