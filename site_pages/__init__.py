"""The pages of the site: made from rows, registries and docs by `mkdocs build` (see mkdocs.yml); nothing is typed twice."""
