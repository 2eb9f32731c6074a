// The validator badge would ask a server of somebody else.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  deepLinking: true,
});
