// Runs in the controller at each of its starts: an administrator with a known API token, CSRF crumbs, nothing for strangers.
import hudson.model.User
import hudson.security.FullControlOnceLoggedInAuthorizationStrategy
import hudson.security.HudsonPrivateSecurityRealm
import hudson.security.csrf.DefaultCrumbIssuer
import jenkins.model.Jenkins
import jenkins.model.JenkinsLocationConfiguration
import jenkins.security.ApiTokenProperty

def jenkins = Jenkins.get()
def realm = new HudsonPrivateSecurityRealm(false, false, null)
jenkins.securityRealm = realm
if (User.getById('admin', false)?.getProperty(HudsonPrivateSecurityRealm.Details) == null) {
    def admin = realm.createAccount('admin', System.getenv('TESTS_TOKEN'))
    def tokens = admin.getProperty(ApiTokenProperty) ?: new ApiTokenProperty()
    admin.addProperty(tokens)
    tokens.addFixedNewToken('tests', System.getenv('TESTS_TOKEN'))
    admin.save()
}
def strategy = new FullControlOnceLoggedInAuthorizationStrategy()
strategy.allowAnonymousRead = false
jenkins.authorizationStrategy = strategy
jenkins.crumbIssuer = new DefaultCrumbIssuer(false)
jenkins.numExecutors = 0  // builds run on agents, as Jenkins advises
jenkins.quietPeriod = 0
jenkins.save()
JenkinsLocationConfiguration.get().url = System.getenv('TESTS_URL')
JenkinsLocationConfiguration.get().save()
