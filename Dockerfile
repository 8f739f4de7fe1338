# One image for gateway, edge agent and simulator; the command says which.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY contract contract
COPY models models
COPY edge edge
COPY cloud cloud
COPY firmware_sim firmware_sim
COPY farfix farfix
RUN python -m venv /opt/farfix \
    && /opt/farfix/bin/pip install --no-cache-dir -c constraints.txt '.[cloud,edge,sim]'

FROM python:3.11-slim-bookworm
# Flat package names: never import from whatever folder happens to be the current one.
ENV PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PATH=/opt/farfix/bin:$PATH
RUN useradd --create-home --uid 10001 farfix && install -d -o farfix -g farfix /data
COPY --from=build /opt/farfix /opt/farfix
USER farfix
WORKDIR /data
VOLUME /data
ENTRYPOINT ["farfix"]
CMD ["--help"]
